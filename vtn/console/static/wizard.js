// The browser's own time zone, first; and the unit that goes with what is asked.
const zone = document.getElementById("zone");
const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && here && ![...zone.options].some((one) => one.value === here)) {
  const fresh = ![...document.querySelectorAll("#starts, #ends")].some((one) => one.value);
  zone.add(new Option(here, here, false, fresh));
}
const kind = document.getElementById("kind");
const unit = document.getElementById("unit");
const suit = () => {
  const power = !["share", "level"].includes(kind.value);
  if (kind.value === "share") unit.value = "%";
  else if (kind.value === "level") unit.value = "level";
  else if (!["kW", "MW"].includes(unit.value)) unit.value = "kW";
  document.getElementById("share").disabled = !power || kind.value === "limit";
};
kind?.addEventListener("change", suit);
