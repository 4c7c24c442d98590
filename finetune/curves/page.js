// Tells the values of all curves of a panel at the step under the mouse.
const { frame, panels } = JSON.parse(document.getElementById("data").textContent);

function nearest(points, step) {
  let best = points[0];
  for (const point of points) if (Math.abs(point[0] - step) < Math.abs(best[0] - step)) best = point;
  return best;
}

for (const figure of document.querySelectorAll("figure")) {
  const panel = panels[figure.dataset.panel];
  const svg = figure.querySelector("svg");
  const said = figure.querySelector("output");
  const cross = document.createElementNS("http://www.w3.org/2000/svg", "path");
  cross.setAttribute("class", "cross");
  svg.append(cross);
  svg.addEventListener("mousemove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const share = (x - frame.left) / (frame.right - frame.left);
    if (share < 0 || share > 1) return;
    const wanted = panel.x[0] + share * (panel.x[1] - panel.x[0]);
    const found = panel.lines.map((line) => nearest(line.points, wanted));
    const step = found.reduce((a, b) => (Math.abs(a[0] - wanted) <= Math.abs(b[0] - wanted) ? a : b))[0];
    const at = frame.left + ((step - panel.x[0]) / (panel.x[1] - panel.x[0])) * (frame.right - frame.left);
    cross.setAttribute("d", `M${at} ${frame.top}V${frame.bottom}`);
    const lines = panel.lines.map((line, i) => `${line.name} ${Number(found[i][1].toPrecision(5))}` + (found[i][0] === step ? "" : ` (step ${found[i][0]})`));
    said.textContent = [`step ${step}`, ...lines].join("\n");
  });
  svg.addEventListener("mouseleave", () => {
    said.textContent = "";
    cross.setAttribute("d", "");
  });
}
