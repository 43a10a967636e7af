// Charts, in UTC as all figures of the pages: baseline dashed grey, the ordered band hatched, measured a solid line in the text colour.
// <div class="chart" id="x" data-chart="/figures.json" data-chart-live="event:ID" data-height="280">
import { onChange } from "./live.js";

const uPlot = window.uPlot;
const tokens = () => {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(name).trim();
};
const two = (number) => String(number).padStart(2, "0");
const clock = (seconds) => {
  const at = new Date(seconds * 1000);
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
};
// 14:05, and at the beginning of a day its date: 11-20.
const tick = (seconds, step) => (step >= 86400 || seconds % 86400 === 0 ? day(seconds).slice(5) : clock(seconds).slice(0, 5));
const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);
const MOST_ROWS = 240;

function hatch(colour) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const pen = tile.getContext("2d");
  pen.strokeStyle = colour;
  pen.lineWidth = 1;
  for (const shift of [-8, 0, 8]) {
    pen.moveTo(shift, 8);
    pen.lineTo(shift + 8, 0);
  }
  pen.stroke();
  return pen.createPattern(tile, "repeat");
}

function style(kind, colour) {
  const none = { show: false };
  switch (kind) {
    case "baseline":
      return { stroke: colour("--chart-baseline"), width: 1.5, dash: [6, 4], points: none };
    case "ordered":
      return { stroke: colour("--chart-baseline"), width: 1, paths: uPlot.paths.stepped({ align: 1 }), points: none };
    case "measured":
      return { stroke: colour("--text"), width: 1.75, points: none };
    default:
      return { stroke: colour("--info"), width: 1.5, points: none };
  }
}

// The event's window, shaded; dates are in seconds.
const shaded = (windows, colour) => ({
  hooks: {
    drawClear: (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.fillStyle = colour("--chart-window");
      for (const [from, to] of windows) {
        const left = Math.max(bbox.left, plot.valToPos(from, "x", true));
        const right = Math.min(bbox.left + bbox.width, plot.valToPos(to ?? 1e12, "x", true));
        if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
      }
      ctx.restore();
    },
  },
});

class Chart {
  constructor(holder) {
    this.holder = holder;
    this.legend = document.getElementById(`${holder.id}-legend`);
    this.table = document.getElementById(`${holder.id}-table`);
    this.details = document.getElementById(`${holder.id}-details`);
    this.details?.addEventListener("toggle", () => this.tabulate());
    document.addEventListener("theme", () => this.redraw());
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(holder);
    const topics = (holder.dataset.chartLive || "").split(" ").filter(Boolean);
    if (topics.length) onChange(topics, () => this.load());
    this.load();
  }

  size() {
    return { width: Math.max(240, this.holder.clientWidth), height: Number(this.holder.dataset.height) || 280 };
  }

  async load() {
    if (this.loading) {
      this.again = true;
      return;
    }
    this.loading = true;
    try {
      const answer = await fetch(this.holder.dataset.chart, { redirect: "error" });
      if (answer.ok) this.show(await answer.json());
    } catch {
      // The connection state in the header says so; the next change asks again.
    }
    this.loading = false;
    if (this.again) {
      this.again = false;
      setTimeout(() => this.load(), 1000);
    }
  }

  show(given) {
    this.given = given;
    const scale = given.unit === "MW" ? 1e6 : given.unit === "kW" ? 1e3 : 1;
    this.columns = [
      given.t,
      ...given.series.map((one) => one.values.map((value) => (value === null ? null : value / scale))),
    ];
    if (this.plot && this.shape === this.shapeOf(given)) this.plot.setData(this.columns, !this.zoomed());
    else this.redraw();
    this.point(null);
    this.tabulate();
  }

  shapeOf(given) {
    return JSON.stringify([given.series.map((one) => one.name), given.unit, given.windows]);
  }

  zoomed() {
    const { min, max } = this.plot.scales.x;
    const t = this.plot.data[0];
    return t.length > 1 && (min > t[0] || max < t[t.length - 1]);
  }

  redraw() {
    if (!this.given) return;
    this.plot?.destroy();
    this.holder.replaceChildren();
    if (!this.given.t.length) {
      const none = document.createElement("p");
      none.className = "empty";
      none.textContent = this.given.empty || "Nothing was measured in this time.";
      this.holder.append(none);
      this.plot = null;
      return;
    }
    const colour = tokens();
    this.shape = this.shapeOf(this.given);
    const axis = {
      stroke: colour("--soft"),
      grid: { stroke: colour("--chart-grid"), width: 1 },
      ticks: { stroke: colour("--chart-grid"), width: 1 },
      font: "13px system-ui, sans-serif",
    };
    const band = hatch(colour("--chart-band"));
    this.plot = new uPlot(
      {
        ...this.size(),
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        legend: { show: false },
        cursor: { drag: { x: true, y: false } },
        scales: { y: { range: (_plot, low, high) => [Math.min(0, low ?? 0), (high ?? 1) > 0 ? high * 1.08 : 1] } },
        axes: [
          { ...axis, values: (_plot, ticks, _axis, _space, step) => ticks.map((at) => tick(at, step)) },
          { ...axis, size: 64, label: this.given.unit, labelFont: "13px system-ui, sans-serif", labelSize: 20 },
        ],
        series: [
          {},
          ...this.given.series.map((one) => ({
            label: one.name,
            spanGaps: false,
            ...style(one.kind, colour),
            ...(one.fill ? { fill: () => band } : {}),
          })),
        ],
        bands: (this.given.bands || []).map(([upper, lower]) => ({ series: [upper + 1, lower + 1], fill: band, dir: -1 })),
        hooks: { setCursor: [(plot) => this.point(plot.cursor.idx)] },
        plugins: [shaded(this.given.windows || [], colour)],
      },
      this.columns,
      this.holder,
    );
  }

  // The values under the cursor, or the newest, and the difference of the first two lines that differ.
  point(at) {
    if (!this.legend || !this.given?.t.length) return;
    let index = at;
    if (index === null || index === undefined) {
      const values = this.columns.slice(1);
      const last = this.columns[0].length - 1;
      const newest = (fits) => {
        let at = last;
        while (at >= 0 && !fits((one) => one[at] !== null)) at -= 1;
        return at;
      };
      index = newest((there) => values.every(there));
      if (index < 0) index = Math.max(0, newest((there) => values.some(there)));
    }
    const parts = [`${this.moment(this.columns[0][index])} UTC`];
    this.given.series.forEach((one, number) => {
      parts.push(`${one.name} ${this.said(this.columns[number + 1][index])}`);
    });
    if (this.given.difference) {
      const [name, upper, lower] = this.given.difference;
      const values = [this.columns[upper + 1][index], this.columns[lower + 1][index]];
      parts.push(`${name} ${this.said(values.includes(null) ? null : values[0] - values[1])}`);
    }
    this.legend.textContent = parts.join(" · ");
  }

  moment(seconds) {
    const t = this.columns[0];
    const long = t.length > 1 && t[t.length - 1] - t[0] > 86400;
    return long ? `${day(seconds)} ${clock(seconds)}` : clock(seconds);
  }

  said(value) {
    return value === null || value === undefined ? "–" : `${value.toFixed(1)} ${this.given.unit}`;
  }

  tabulate() {
    if (!this.table || !this.details?.open || !this.given) return;
    const head = document.createElement("thead");
    const body = document.createElement("tbody");
    const row = (cells, kind) => {
      const line = document.createElement("tr");
      cells.forEach((text, number) => {
        const cell = document.createElement(kind);
        cell.textContent = text;
        if (number) cell.className = "number";
        line.append(cell);
      });
      return line;
    };
    head.append(row(["Time (UTC)", ...this.given.series.map((one) => `${one.name}, ${this.given.unit}`)], "th"));
    const every = Math.max(1, Math.ceil(this.columns[0].length / MOST_ROWS));
    for (let at = 0; at < this.columns[0].length; at += every) {
      const values = this.columns.slice(1).map((values) => (values[at] === null ? "–" : values[at].toFixed(1)));
      body.append(row([this.moment(this.columns[0][at]), ...values], "td"));
    }
    this.table.replaceChildren(head, body);
  }
}

export function draw() {
  for (const holder of document.querySelectorAll("[data-chart]")) new Chart(holder);
}
draw();
