// An EMS that moves plant.mjs: node ems_client.mjs HOST PORT SITE NODE EMS (needs npm install mqtt).
import mqtt from "mqtt";
import * as plant from "./plant.mjs";
const [host, port, site, node, ems] = process.argv.slice(2), root = `df/v1/${site}/${node}`, own = `${root}/ems/${ems}`;
let lease = null, beginsS = 0, endsS = 0, seq = -1, said = {}, fallback = {}, outS = 0, counter = 0;
const nowS = () => performance.now() / 1000, leftS = (instant) => (Date.parse(instant) - Date.now()) / 1000;
const written = (schema, more) => JSON.stringify({ schema: `df/v1/${schema}`, at: new Date(), ...more });
function answer(order, status, reason = "") {
  const answered = { id: order.id, seq: order.seq, status, reason };
  if (status !== "REJECTED") said = { ...answered, applied_w: plant.appliedW(order) };
  client.publish(`${own}/ack`, written("ack", status === "REJECTED" ? answered : said), { qos: 1 });
}
const problem = (order) => // why it is not obeyed; "" when it is
  order.seq <= seq ? `seq is not newer than ${seq}` : order.release ? "" : nowS() < outS ? "a person has opted out" :
  leftS(order.not_after) > 0 ? plant.problem(order) : "it has run out";
function obey(order) {
  if (order.schema !== "df/v1/setpoint") return;
  if (order.id === said.id && order.seq === said.seq) return answer(order, said.status); // it came twice
  const why = problem(order);
  if (why) return answer(order, "REJECTED", why);
  if (lease && lease.id !== order.id) answer(lease, "REVOKED", "another took its place");
  [lease, seq, fallback, beginsS] = [order, order.seq, {}, nowS() + leftS(order.not_before)];
  endsS = order.release ? Infinity : nowS() + Math.min(order.ttl_s, leftS(order.not_after));
  answer(order, "ACCEPTED");
}
function override({ active, until }) { // a person opts out, or takes it back
  outS = active ? nowS() + (until ? leftS(until) : Infinity) : 0;
  if (lease && nowS() < outS) lease = answer(lease, "ABORTED", "a person has opted out") ?? null;
}
function step() {
  if (lease && nowS() >= endsS) { // nobody has to tell it to end
    if (said.status !== "SUCCEEDED") answer(lease, "ABORTED", "it ran out before it was reached");
    [lease, fallback] = [null, { max_w: lease.fallback_w }];
  }
  const begun = lease && nowS() >= beginsS ? lease : null, there = plant.move(begun ?? fallback);
  if (begun && said.status === "ACCEPTED") answer(begun, "STARTED");
  if (begun && said.status === "STARTED" && there) answer(begun, "SUCCEEDED");
  if (begun?.release && there) lease = null;
}
const will = { topic: `${own}/status`, payload: written("ems-status", { state: "lost" }), qos: 1, retain: true };
const client = mqtt.connect(`mqtt://${host}:${port}`, { will, keepalive: 10, reconnectPeriod: 1000 });
client.on("connect", () => client.subscribe([`${root}/limit/cmd`, `${root}/limit/state`, `${own}/override`], { qos: 1 })
  .publish(`${own}/status`, written("ems-status", { state: "online" }), { qos: 1, retain: true }));
client.on("message", (topic, payload) => {
  const text = payload.length && payload.length <= 65_536 ? payload : "{}";
  try { (topic === `${own}/override` ? override : obey)(JSON.parse(text)); } catch (fault) { console.warn(topic, fault.message); }
});
setInterval(step, 100);
setInterval(() => client.publish(`${own}/hb`, written("hb", { counter: counter++ })), 9_000);
