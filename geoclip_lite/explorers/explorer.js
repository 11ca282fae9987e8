// Moves one explorer: reads its controls, looks up the frame, and shows it. Runs in a page and in JupyterLab.
(root => {
  const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  const controls = [...root.querySelectorAll(".gcl-control :is(input, select)")];
  const frame = () => controls.reduce((index, c, i) => index * data.controls[i].length + Number(c.value), 0);

  function showStrip(list, cells) {
    [...list.children].forEach((item, i) => {
      const [picture, hit, label] = cells[i], thumb = item.firstElementChild;
      const { side, columns } = data.sprite;
      thumb.style.backgroundPosition = `-${(picture % columns) * side}px -${Math.floor(picture / columns) * side}px`;
      thumb.setAttribute("aria-label", label);
      item.classList.toggle("hit", hit);
      item.lastElementChild.textContent = label;
    });
  }

  function showCursor(svg, { x, dots }) {
    for (const line of svg.querySelectorAll(".cursor")) for (const end of ["x1", "x2"]) line.setAttribute(end, x);
    svg.querySelectorAll(".dot").forEach((dot, i) => { dot.setAttribute("cx", x); dot.setAttribute("cy", dots[i]); });
  }

  function show() {
    const now = frame();
    controls.forEach((control, i) => {
      const word = data.controls[i][control.value];
      if (control.type === "range") control.setAttribute("aria-valuetext", word);
      control.closest(".gcl-control").querySelectorAll("output").forEach(o => (o.textContent = word));
    });
    data.panels.forEach((panel, i) => {
      const place = root.querySelector(`[data-panel="${i}"]`);
      if (panel.kind === "strip") showStrip(place, panel.frames[now]);
      if (panel.kind === "curves") showCursor(place, panel.frames[now]);
      if (panel.kind === "drawing") place.querySelector(".frame").innerHTML = panel.frames[now];
    });
    root.querySelector(".gcl-caption").textContent = data.captions[now];
  }

  // A drawing can be picked from: where the pointer is sets the first control (across) and the second (up).
  function pick(event) {
    const box = event.currentTarget.querySelector(".pick").getBoundingClientRect();
    const at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    controls.slice(0, 2).forEach((control, i) => {
      const n = data.controls[i].length, share = i && data.upwards ? 1 - at[i] : at[i];
      control.value = Math.min(n - 1, Math.max(0, Math.floor(share * n)));
    });
    show();
  }

  for (const control of controls) {
    control.addEventListener("input", show);
    control.addEventListener("keydown", event => event.stopPropagation()); // JupyterLab would take the arrows
  }
  for (const svg of root.querySelectorAll("svg:has(.pick)")) {
    svg.addEventListener("pointerdown", pick);
    svg.addEventListener("pointermove", event => (event.buttons || event.pointerType === "mouse") && pick(event));
  }
  root.querySelector(".gcl-controls").hidden = false;
  show();
})(document.getElementById("EXPLORER"));
