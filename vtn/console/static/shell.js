// What every page does: clocks, ages that count up, the theme switch, and live updates.
import { follow } from "./live.js";

const two = (number) => String(number).padStart(2, "0");
const clock = (at, utc) =>
  utc
    ? `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`
    : `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
const day = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;

// 4 s, 5 min, 1 h 05 min, 3 d 2 h: as vtn.console.words.span.
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  const hours = Math.floor(whole / 3600);
  if (minutes < 60) return `${minutes} min`;
  if (hours < 48) return `${hours} h ${two(minutes % 60)} min`;
  return `${Math.floor(whole / 86400)} d ${hours % 24} h`;
}

// The server's clock is the one that counts; a browser's may be off.
const page = document.querySelector("[data-clock=utc]");
let ahead = 0;
if (page) {
  const [h, m, s] = page.textContent.split(":").map(Number);
  const here = new Date();
  const there = Date.UTC(here.getUTCFullYear(), here.getUTCMonth(), here.getUTCDate(), h, m, s);
  ahead = there - here.getTime();
  if (ahead > 43200000) ahead -= 86400000;
  if (ahead < -43200000) ahead += 86400000;
  if (Math.abs(ahead) < 3000) ahead = 0;
}
export const now = () => new Date(Date.now() + ahead);

function tick() {
  const at = now();
  for (const one of document.querySelectorAll("[data-clock]")) {
    one.textContent = clock(at, one.dataset.clock === "utc");
  }
  for (const one of document.querySelectorAll("time[data-age]")) {
    one.textContent = `${span((at - new Date(one.dateTime)) / 1000)} ago`;
  }
  for (const one of document.querySelectorAll("[data-until]")) {
    const left = (new Date(one.dataset.until) - at) / 1000;
    one.textContent = left > 0 ? `${span(left)} left` : "over";
  }
}

export function localTimes(root) {
  for (const one of root.querySelectorAll("time[datetime]")) {
    const at = new Date(one.dateTime);
    one.title = `${day(at)} ${clock(at)} local, ${one.dateTime.replace("T", " ").replace("Z", "")} UTC`;
  }
}

const zone = document.querySelector("[data-zone]");
if (zone) zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
// A table that is wider than the window is scrolled by keyboard, too.
function scrollable() {
  for (const one of document.querySelectorAll(".wide")) {
    if (one.scrollWidth > one.clientWidth) one.tabIndex = 0;
    else one.removeAttribute("tabindex");
  }
}
addEventListener("resize", scrollable);
scrollable();
tick();
localTimes(document);
setInterval(tick, 1000);

const themes = document.querySelector("[data-theme-switch]");
if (themes) {
  const root = document.documentElement;
  const dark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => (themes.textContent = dark() ? "Light theme" : "Dark theme");
  themes.hidden = false;
  name();
  themes.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch {
      // It holds for this page.
    }
    name();
    document.dispatchEvent(new Event("theme"));
  });
}

// A form is sent once: a second press on the button while the first is under way does nothing.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented) return;
  if (event.target.dataset.sent) event.preventDefault();
  else event.target.dataset.sent = "yes";
});
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

follow(() => {
  localTimes(document);
  scrollable();
});
