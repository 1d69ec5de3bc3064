// The front page: draws the charts from the data beside them, and keeps the tiles up to date.
"use strict";

const COLOURS = ["#0f766e", "#6366f1", "#d97706", "#db2777", "#65a30d", "#64748b"];
const SECONDS = 10;

function ink() {
  return getComputedStyle(document.body).color;
}

function draw(canvas) {
  const { labels, series } = JSON.parse(document.getElementById(canvas.dataset.chart).textContent);
  const datasets = series.map(({ name, values }, place) => ({
    label: name,
    data: values.map(Number), // for the height of bars only: the figures themselves are in the table
    backgroundColor: COLOURS[place % COLOURS.length],
  }));
  const axis = { stacked: true, grid: { display: false }, ticks: { color: ink(), maxRotation: 0, autoSkip: true } };
  return new Chart(canvas, {
    type: "bar",
    data: { labels, datasets },
    options: {
      animation: false,
      maintainAspectRatio: false,
      locale: document.documentElement.lang,
      scales: { x: axis, y: { ...axis, beginAtZero: true } },
      plugins: { legend: { display: series.length > 1, labels: { color: ink(), boxWidth: 12 } } },
    },
  });
}

function recolour(charts) {
  for (const chart of charts) {
    for (const axis of Object.values(chart.options.scales)) axis.ticks.color = ink();
    chart.options.plugins.legend.labels.color = ink();
    chart.update();
  }
}

async function refresh(section) {
  if (document.hidden) return;
  const stale = document.querySelector("[data-stale]");
  try {
    const response = await fetch(section.dataset.liveUrl, { headers: { Accept: "application/json" } });
    if (!response.ok || response.redirected) throw new Error(response.status);
    const values = await response.json();
    for (const place of section.querySelectorAll("[data-live]")) place.textContent = values[place.dataset.live];
    stale.hidden = true;
  } catch {
    stale.hidden = false;
  }
}

document.addEventListener("DOMContentLoaded", () => {
  const charts = [...document.querySelectorAll("canvas[data-chart]")].map(draw);
  new MutationObserver(() => recolour(charts)).observe(document.documentElement, { attributeFilter: ["class"] });
  const section = document.querySelector("[data-live-url]");
  if (section) setInterval(() => refresh(section), SECONDS * 1000);
});
