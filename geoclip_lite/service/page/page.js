// The search page: asks the service, shows what it found and why. No framework, nothing from elsewhere.

const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const PAUSE = 180; // ms between the last move of a slider and the search
const ATTEMPTS = 4; // when the service is busy

let found = null; // the last answer
let chosen = 0; // the result that is explained
let file = null; // the picture that is searched by, if any
let running = null; // the search on its way
let later = 0;
let encoders = []; // what the service knows of them
let order = "assignment"; // the order that was chosen, for encoders that have windows

// --- asking ---------------------------------------------------------------------------------------

function push() {
  const [source, target] = [$("source").value.trim(), $("target").value.trim()];
  const strength = Number($("strength").value);
  return source && target && strength ? { source, target, strength } : null;
}

function request() {
  const encoder = $("encoder").value;
  if (!file) {
    const body = JSON.stringify({ query: $("query").value, encoder, reranker: $("reranker").value, push: push() });
    return ["/api/search", { method: "POST", headers: { "Content-Type": "application/json" }, body }];
  }
  const named = new URLSearchParams({ encoder, ...push() });
  return [`/api/search-by-picture?${named}`, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file }];
}

async function search({ remember = true } = {}) {
  clearTimeout(later);
  running?.abort();
  if (!file && !$("query").value.trim()) {
    return nothing();
  }
  const mine = (running = new AbortController());
  document.body.classList.add("busy");
  try {
    const began = performance.now();
    const answer = await asked(mine.signal);
    if (remember) {
      address();
    }
    show(answer, performance.now() - began);
  } catch (problem) {
    if (problem.name !== "AbortError") {
      fail(problem.message);
    }
  } finally {
    if (running === mine) {
      document.body.classList.remove("busy");
    }
  }
}

async function asked(signal, attempt = 1) {
  const [place, about] = request();
  const response = await fetch(place, { ...about, signal }).catch(error => {
    throw error.name === "AbortError" ? error : new Error("The service does not answer. Is it still running?");
  });
  if (response.status === 429 && attempt < ATTEMPTS) {
    $("status").textContent = "The service is busy; asking again …";
    await new Promise(done => setTimeout(done, 1000 * Number(response.headers.get("Retry-After") || 1)));
    signal.throwIfAborted();
    return asked(signal, attempt + 1);
  }
  const said = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Error(said.detail || `The service answers with ${response.status}.`);
  }
  return said;
}

function soon() {
  clearTimeout(later);
  later = setTimeout(search, PAUSE);
}

// --- showing --------------------------------------------------------------------------------------

function fail(message) {
  $("problem").textContent = message[0].toUpperCase() + message.slice(1);
  $("status").textContent = "";
  $("notes").replaceChildren();
  $("results").hidden = true;
}

function nothing() {
  [$("problem"), $("status"), $("notes")].forEach(element => element.replaceChildren());
  $("results").hidden = true;
  document.body.classList.remove("busy");
}

function show(answer, milliseconds) {
  [found, chosen] = [answer, 0];
  $("problem").textContent = "";
  $("notes").replaceChildren(...answer.notes.map(note => element("li", {}, note)));
  const many = answer.results.length;
  $("results").hidden = !many;
  const read = answer.phrases.length > 1 ? `, read as ${answer.phrases.length} objects` : "";
  $("status").textContent = many
    ? `The best ${many} by ${answer.encoder}${read}, in ${Math.round(milliseconds)} ms.`
    : "Nothing was found.";
  $("list").replaceChildren(...answer.results.map(card));
  if (many) {
    choose(0);
  }
}

function card(result, number) {
  const { fit } = found;
  const picture = element("img", { src: result.picture, alt: result.caption || result.id });
  const boxes = shape("svg", { "aria-hidden": "true" });
  picture.addEventListener("load", () => boxes.replaceWith(drawing(result.matches, fit, picture, false)), { once: true });
  const label = element("span", { class: "label" }, element("b", {}, `${number + 1}`), result.score.toFixed(3));
  const button = element("button", { type: "button" }, element("div", { class: "frame" }, picture, boxes), label);
  button.addEventListener("click", () => choose(number));
  return element("li", {}, button);
}

function choose(number) {
  chosen = number;
  const result = found.results[number];
  $("list").querySelectorAll("button").forEach((button, i) => {
    button.toggleAttribute("aria-current", i === number);
    button.tabIndex = i === number ? 0 : -1;
  });
  $("place").textContent = number ? `Why it is number ${number + 1}` : "Why it came first";
  $("why").textContent = result.why;
  $("caption").textContent = result.id.endsWith(result.caption) ? result.caption || result.id : `${result.caption} · ${result.id}`;
  const picture = $("picture");
  picture.alt = result.caption || result.id;
  picture.onload = () => frame(result, picture);
  picture.src = result.picture;
  parts(result);
}

function frame(result, picture) {
  const drawn = drawing(result.matches, found.fit, picture, true);
  drawn.id = "boxes";
  $("boxes").replaceWith(drawn);
}

// The windows of the matches, over what was looked at of a picture; numbered over all of it, else over its middle square.
function drawing(matches, fit, { naturalWidth: width, naturalHeight: height }, numbered) {
  const [short, long] = [Math.min(width, height), Math.max(width, height)];
  const unit = short / 100;
  const [across, down] = { shortest: [short, short], squash: [width, height], longest: [long, long] }[fit];
  const [x0, y0] = [(width - across) / 2, (height - down) / 2];
  const shown = numbered ? [0, 0, width, height] : [(width - short) / 2, (height - short) / 2, short, short];
  const drawn = shape("svg", { viewBox: shown.join(" "), "aria-hidden": "true" });
  matches.forEach((match, i) => {
    const [left, top, right, bottom] = match.box.map((v, i) => v * (i % 2 ? down : across));
    const box = { x: x0 + left, y: y0 + top, width: right - left, height: bottom - top, rx: 1.5 * unit };
    const parts = [shape("rect", { ...box, class: "halo" }), shape("rect", { ...box, class: "line" })];
    if (numbered) {
      const [x, y] = [clamp(box.x, 5, width / unit - 5, unit) + 8 * unit * repeats(matches, i), clamp(box.y, 5, height / unit - 5, unit)];
      parts.push(shape("circle", { cx: x, cy: y, r: 3.6 * unit, "stroke-width": 0.8 * unit }));
      parts.push(shape("text", { x, y, "font-size": 4.4 * unit }, `${i + 1}`));
    }
    drawn.append(shape("g", {}, ...parts));
  });
  return drawn;
}

const clamp = (value, low, high, unit) => Math.min(Math.max(value, low * unit), high * unit);
const repeats = (matches, i) => matches.slice(0, i).filter(m => m.box.join() === matches[i].box.join()).length;

function parts(result) {
  const { weight } = found;
  const rows = result.matches.map((match, i) => row(i + 1, match.phrase, match.place, match.cosine));
  if (weight > 0) {
    rows.push(row("", "the picture as a whole", "", result.cosine));
  }
  $("sum").replaceChildren(...rows);
  $("total").textContent = sum(result, weight);
}

function sum(result, weight) {
  if (weight === 1 || !result.matches.length) {
    return `Ordered by the picture as a whole: ${result.score.toFixed(3)}.`;
  }
  const share = Math.round(100 * weight);
  const whole = weight > 0 ? `, the whole for ${share} %` : "";
  return `Score ${result.score.toFixed(3)}: the mean of the objects counts for ${100 - share} %${whole}.`;
}

function row(number, name, where, cosine) {
  const bar = element("i", {});
  bar.style.setProperty("--share", Math.min(1, Math.max(0, cosine)));
  const what = element("span", { class: "what" }, element("span", {}, name), element("span", { class: "where" }, where));
  const gauge = element("span", { class: "gauge" }, bar, cosine.toFixed(2));
  const line = element("li", {}, element("span", { class: "number" }, `${number}`), what, gauge);
  if (number) {
    line.addEventListener("pointerenter", () => look(number - 1, true));
    line.addEventListener("pointerleave", () => look(number - 1, false));
  }
  return line;
}

function look(number, on) {
  $("boxes").classList.toggle("looking", on);
  $("boxes").children[number]?.classList.toggle("looked-at", on);
}

// --- making elements ------------------------------------------------------------------------------

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  return filled(made, attributes, children);
}

function shape(name, attributes, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  made.append(...children);
  return made;
}

// --- searching by a picture -----------------------------------------------------------------------

function take(picture) {
  if (!picture) {
    return;
  }
  forget();
  file = picture;
  $("preview").hidden = false;
  $("preview").src = URL.createObjectURL(picture);
  $("chosen").hidden = false;
  search({ remember: false });
}

function forget() {
  URL.revokeObjectURL($("preview").src);
  $("chosen").hidden = true;
  [file, $("file").value] = [null, ""];
}

// --- the address: a search can be kept, sent and gone back to -------------------------------------

const KEPT = { q: "query", encoder: "encoder", order: "reranker", from: "source", to: "target", by: "strength" };

function address() {
  const kept = Object.entries(KEPT).map(([name, id]) => [name, $(id).value]);
  const told = new URLSearchParams(kept.filter(([name, value]) => value && !(name === "by" && value === "0")));
  if (!file && `?${told}` !== location.search) {
    history.pushState(null, "", `?${told}`);
  }
}

function restore() {
  const told = new URLSearchParams(location.search);
  for (const [name, id] of Object.entries(KEPT)) {
    const value = told.get(name);
    const known = $(id).tagName !== "SELECT" || [...$(id).options].some(option => option.value === value);
    if (value !== null && known) {
      $(id).value = value;
    }
  }
  order = $("reranker").value;
  offer();
  $("query").value = told.get("q") ?? "";
  $("by").textContent = Number($("strength").value).toFixed(2);
  search({ remember: false });
}

// --- what an encoder can do -----------------------------------------------------------------------

// One without windows orders by the whole picture, whatever was chosen for others.
function offer() {
  const windows = encoders.find(({ name }) => name === $("encoder").value)?.windows;
  for (const option of $("reranker").options) {
    option.disabled = !windows && option.value !== "none";
  }
  $("reranker").value = windows ? order : "none";
  $("each").hidden = !windows;
}

// --- keys -----------------------------------------------------------------------------------------

function keys(event) {
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    $("query").focus();
    $("query").select();
  } else if (event.target.closest("#list")) {
    walk(event);
  }
}

function walk(event) {
  const last = found.results.length - 1;
  const next = { ArrowLeft: chosen - 1, ArrowRight: chosen + 1, Home: 0, End: last }[event.key];
  if (next === undefined) {
    return;
  }
  event.preventDefault();
  choose(Math.min(last, Math.max(0, next)));
  $("list").children[chosen].firstElementChild.focus();
}

// --- beginning ------------------------------------------------------------------------------------

async function begin() {
  const response = await fetch("/api/about").catch(() => null);
  if (!response?.ok) {
    return fail("The service does not answer. Is it still running?");
  }
  const about = await response.json();
  encoders = about.encoders;
  const many = Math.max(...about.encoders.map(encoder => encoder.pictures));
  $("about").textContent = `${about.title} · ${many.toLocaleString("en")} pictures`;
  $("left-out").hidden = !about.left_out.length;
  $("left-out").textContent = `Left out: ${about.left_out.join(", ")}.`;
  $("encoder").replaceChildren(...about.encoders.map(({ name }) => element("option", { value: name }, name)));
  $("examples").hidden = !about.examples.length;
  $("examples").firstElementChild.replaceChildren(...about.examples.flatMap((text, i) => [i ? ", or " : "", example(text)]));
  restore();
}

function example(text) {
  const button = element("button", { type: "button" }, text);
  button.addEventListener("click", () => {
    forget();
    $("query").value = text;
    search();
  });
  return button;
}

function listen() {
  $("form").addEventListener("submit", event => {
    event.preventDefault();
    forget();
    search();
  });
  $("reranker").addEventListener("change", () => (order = $("reranker").value));
  $("encoder").addEventListener("change", offer);
  ["encoder", "reranker"].forEach(id => $(id).addEventListener("change", () => search()));
  ["source", "target", "strength"].forEach(id => $(id).addEventListener("input", soon));
  $("strength").addEventListener("input", () => ($("by").textContent = Number($("strength").value).toFixed(2)));
  $("preview").addEventListener("error", () => ($("preview").hidden = true));
  $("file").addEventListener("change", () => take($("file").files[0]));
  $("forget").addEventListener("click", () => {
    forget();
    search();
    $("query").focus();
  });
  document.addEventListener("keydown", keys);
  document.addEventListener("paste", event => take(event.clipboardData?.files[0]));
  for (const [name, on] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    document.addEventListener(name, event => {
      event.preventDefault();
      document.body.classList.toggle("dropping", on);
    });
  }
  document.addEventListener("drop", event => take(event.dataTransfer?.files[0]));
  addEventListener("popstate", restore);
  $("options").open = matchMedia("(min-width: 44rem)").matches;
}

listen();
begin();
