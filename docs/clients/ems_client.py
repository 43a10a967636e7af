"""An EMS that moves plant.py: python ems_client.py HOST PORT SITE NODE EMS (needs pip install paho-mqtt)."""
import contextlib, datetime, itertools, json, math, queue, sys, time, paho.mqtt.client as mqtt, plant
host, port, site, node, ems = sys.argv[1:]
root, own, inbox = f"df/v1/{site}/{node}", f"df/v1/{site}/{node}/ems/{ems}", queue.Queue()
class me: lease, begins_s, ends_s, seq, said, fallback, out_s = None, 0, 0, -1, {}, {}, 0
def left_s(instant): return datetime.datetime.fromisoformat(instant).timestamp() - time.time()
def written(schema, **more): return json.dumps({"schema": schema, "at": time.strftime("%FT%TZ", time.gmtime()), **more})
def answer(order, status, reason=""):
    said = {"id": order["id"], "seq": order["seq"], "status": status, "reason": reason}
    if status != "REJECTED": said["applied_w"], me.said = plant.applied_w(order), said
    client.publish(f"{own}/ack", written("df/v1/ack", **said), qos=1)
def problem(order):  # why it is not obeyed; "" when it is
    if order["seq"] <= me.seq: return f"seq is not newer than {me.seq}"
    if order.get("release"): return ""
    if time.monotonic() < me.out_s: return "a person has opted out"
    return plant.problem(order) if left_s(order["not_after"]) > 0 else "it has run out"
def hear(topic, payload):
    order, now_s = json.loads(payload or b"{}"), time.monotonic()
    if topic == f"{own}/override":
        me.out_s = now_s + left_s(order.get("until") or "9999-01-01T00:00:00Z") if order.get("active") else 0
        if me.lease and now_s < me.out_s: me.lease = answer(me.lease, "ABORTED", "a person has opted out")
    elif order.get("schema") != "df/v1/setpoint" or len(payload) > 65_536: return
    elif (order["id"], order["seq"]) == (me.said.get("id"), me.said.get("seq")): answer(order, me.said["status"])
    elif why := problem(order): answer(order, "REJECTED", why)
    else:
        if me.lease and me.lease["id"] != order["id"]: answer(me.lease, "REVOKED", "another took its place")
        me.lease, me.seq, me.fallback, me.begins_s = order, order["seq"], {}, now_s + left_s(order["not_before"])
        me.ends_s = now_s + (math.inf if order.get("release") else min(order["ttl_s"], left_s(order["not_after"])))
        answer(order, "ACCEPTED")
def step():
    if me.lease and time.monotonic() >= me.ends_s:  # nobody has to tell it to end
        if me.said["status"] != "SUCCEEDED": answer(me.lease, "ABORTED", "it ran out before it was reached")
        me.lease, me.fallback = None, {"max_w": me.lease.get("fallback_w")}
    begun = me.lease if me.lease and time.monotonic() >= me.begins_s else None
    there = plant.move(begun or me.fallback)
    if begun and me.said["status"] == "ACCEPTED": answer(begun, "STARTED")
    if begun and me.said["status"] == "STARTED" and there: answer(begun, "SUCCEEDED")
    if begun and begun.get("release") and there: me.lease = None
def greet(*_):
    client.subscribe([(f"{root}/limit/cmd", 1), (f"{root}/limit/state", 1), (f"{own}/override", 1)])
    client.publish(f"{own}/status", written("df/v1/ems-status", state="online"), qos=1, retain=True)
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.on_connect, client.on_message = greet, lambda *heard: inbox.put((heard[2].topic, heard[2].payload))
client.will_set(f"{own}/status", written("df/v1/ems-status", state="lost"), qos=1, retain=True)
client.reconnect_delay_set(1, 5); client.connect_async(host, int(port), keepalive=10); client.loop_start()
for tick in itertools.count():
    with contextlib.suppress(queue.Empty, ValueError, KeyError, TypeError, AttributeError): hear(*inbox.get(timeout=0.1))
    step()
    if tick % 90 == 0: client.publish(f"{own}/hb", written("df/v1/hb", counter=tick), qos=0)
