// The plant that ems_client.mjs moves: a simulated one. Put yours in its place.
export const RATED_W = 100_000; // the most it can use
const NATURAL_W = 60_000; // what it would use now if nobody asked for anything
const PACE_W_PER_S = 10_000; // how fast it moves where a set-point names no ramp

let loadW = NATURAL_W, movedS = performance.now() / 1000;
const isWatts = (value) => typeof value === "number" && Number.isFinite(value);

// Why it cannot do what a set-point asks for; "" when it can.
export function problem({ delta_w = null, max_w = null, min_w = null }) {
  const limits = [max_w, min_w].filter((limit) => limit !== null);
  if ((delta_w === null) === (limits.length === 0)) return "give either a change or limits";
  if (![...limits, delta_w ?? 0].every(isWatts)) return "what should be watts is no number";
  if (Math.abs(delta_w ?? 0) > RATED_W || limits.some((limit) => limit < 0)) return "more than the plant can do";
  return "";
}

// Move the load towards what a set-point asks for ({}: nothing); true when it is there.
export function move({ delta_w, max_w, min_w, ramp_w_per_s }) {
  const wantedW = Math.max(min_w ?? 0, Math.min(max_w ?? Infinity, Math.max(0, NATURAL_W + (delta_w ?? 0))));
  const nowS = performance.now() / 1000;
  const reachW = (ramp_w_per_s ?? PACE_W_PER_S) * (nowS - movedS);
  movedS = nowS;
  loadW += Math.max(-reachW, Math.min(reachW, wantedW - loadW));
  return Math.abs(loadW - wantedW) < 1;
}

// What is held, in the terms of the set-point.
export const appliedW = ({ delta_w, max_w, min_w }) => delta_w ?? max_w ?? min_w ?? null;
