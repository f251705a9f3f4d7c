// Reads the chart out below the pointer; the page says the same without it.
"use strict";
const told = JSON.parse(document.getElementById("series").textContent);
const chart = document.querySelector(".chart");
const cursor = document.querySelector(".cursor");
const outputs = [...document.querySelectorAll(".lane output")];
const before = outputs.map((output) => output.textContent);

function show(event) {
  const box = chart.getBoundingClientRect();
  const share = (event.clientX - box.left) / box.width;
  const bin = Math.min(told.bins - 1, Math.max(0, Math.floor(share * told.bins)));
  const seconds = (told.first_s + (bin + 0.5) * told.bin_s).toFixed(told.digits);
  cursor.setAttribute("x1", 1000 * (bin + 0.5) / told.bins);
  cursor.setAttribute("x2", 1000 * (bin + 0.5) / told.bins);
  cursor.removeAttribute("visibility");
  outputs.forEach((output, lane) => {
    const values = told.lanes[lane]
      .map((one) => ({...one, value: one.values[Math.floor(bin * one.values.length / told.bins)]}))
      .filter((one) => one.value)
      .map((one) => `${one.name} ${one.value}${one.unit}`);
    output.textContent = `${seconds} s: ${values.join(", ") || "nothing"}`;
  });
}

function hide() {
  cursor.setAttribute("visibility", "hidden");
  outputs.forEach((output, lane) => { output.textContent = before[lane]; });
}

if (chart) {
  chart.classList.add("readable");
  chart.addEventListener("pointermove", show);
  chart.addEventListener("pointerleave", hide);
}
