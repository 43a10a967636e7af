// Sparklines: <svg class="spark" data-spark="41.2,40.9,,40.1"> with an empty place for a gap.
export function sparks(root) {
  for (const one of root.querySelectorAll("svg[data-spark]")) {
    if (one.dataset.drawn === one.dataset.spark) continue;
    one.dataset.drawn = one.dataset.spark;
    const values = one.dataset.spark.split(",").map((text) => (text === "" ? null : Number(text)));
    const there = values.filter((value) => value !== null);
    one.replaceChildren();
    if (there.length < 2) continue;
    const high = Math.max(...there, 0) || 1;
    const low = Math.min(...there, 0);
    let run = [];
    const line = () => {
      if (run.length > 1) {
        const drawn = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
        drawn.setAttribute("points", run.join(" "));
        one.append(drawn);
      }
      run = [];
    };
    values.forEach((value, index) => {
      if (value === null) line();
      else run.push(`${((index / (values.length - 1)) * 96).toFixed(1)},${(23 - ((value - low) / (high - low)) * 22).toFixed(1)}`);
    });
    line();
  }
}
sparks(document);
new MutationObserver(() => sparks(document)).observe(document.body, { subtree: true, attributes: true, attributeFilter: ["data-spark"], childList: true });
