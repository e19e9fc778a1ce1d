// Draws each figure of the overview from the table below it, as stacked bars per day. Needs uPlot.

const plots = new Map();

function colours(figure) {
  return [...figure.querySelectorAll(".za-swatch")].map(swatch => getComputedStyle(swatch).backgroundColor);
}

// [days, top series, ..., bottom series]: uPlot draws them over each other, so each holds the sum of those below.
function stack(figure) {
  const rows = [...figure.querySelectorAll("tbody tr")].reverse();
  const days = rows.map(row => Date.parse(row.querySelector("time").dateTime) / 1000);
  const values = rows.map(row => [...row.querySelectorAll("[data-value]")].map(cell => Number(cell.dataset.value)));
  const count = values[0].length;
  const sums = [...Array(count).keys()].map(last => values.map(row => row.slice(0, last + 1).reduce((a, b) => a + b, 0)));
  return [days, ...sums.reverse()];
}

const language = document.documentElement.lang || undefined;

function label(unit, value) {
  if (unit !== "usd") return value.toLocaleString(language);
  return "$" + value.toLocaleString(language, { minimumFractionDigits: 2, maximumFractionDigits: value < 0.1 ? 4 : 2 });
}

function draw(figure) {
  const box = figure.querySelector(".za-canvas");
  const unit = figure.dataset.zaPlot;
  const style = getComputedStyle(figure);
  const data = stack(figure);
  const fills = colours(figure).reverse();
  const axis = { stroke: getComputedStyle(figure.querySelector(".za-quiet")).color, font: `12px ${style.fontFamily}`, ticks: { show: false } };
  const bars = uPlot.paths.bars({ size: [0.75, 40], radius: 0.15 });
  plots.get(figure)?.destroy();
  plots.set(figure, new uPlot({
    width: box.clientWidth,
    height: box.clientHeight,
    tzDate: stamp => uPlot.tzDate(new Date(stamp * 1000), "UTC"),
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { range: (_, first, last) => [first - 43200, last + 43200] }, y: { range: (_, low, high) => [0, Math.max(high * 1.05, unit === "usd" ? 0.01 : 1)] } },
    axes: [
      { ...axis, grid: { show: false }, values: (_, ticks) => ticks.map(tick => new Date(tick * 1000).toLocaleDateString(language, { day: "numeric", month: "short", timeZone: "UTC" })), space: 70, size: 28 },
      { ...axis, grid: { stroke: style.borderTopColor, width: 1 }, size: 62, values: (_, ticks) => ticks.map(tick => label(unit, tick)) },
    ],
    series: [{}, ...data.slice(1).map((_, place) => ({ fill: fills[place], stroke: fills[place], width: 0, paths: bars, points: { show: false } }))],
  }, data, box));
}

function drawAll() {
  for (const figure of document.querySelectorAll("[data-za-plot]")) {
    for (const part of figure.querySelectorAll(".za-canvas, .za-legend")) part.hidden = false;
    draw(figure);
  }
}

if (document.querySelector("[data-za-plot]")) {
  drawAll();
  addEventListener("resize", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  new MutationObserver(drawAll).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme", "class"] });
}
