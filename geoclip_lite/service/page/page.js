// The search page: asks the service, shows what it finds and why. No framework, nothing from elsewhere.

const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const PAUSE = 180; // ms between the last move of a slider and the search
const ATTEMPTS = 5; // when the service is busy
const STEP = 12; // results at a time
const MOST = 50; // results
const HEAVY = 2e6; // bytes of a picture that is shrunk before it is sent
const MOST_BYTES = 10e6; // that the service takes
const SIDE = 1600; // pixels of a shrunk picture

let about = null; // what there is to search
let by = null; // the picture that is searched by: { file } or { like }
let answer = null; // the last one
let chosen = 0; // the result that is explained
let k = STEP;
let running = null; // the search on its way
let later = 0;
let order = "assignment"; // as chosen, for encoders that have windows

// --- asking ---------------------------------------------------------------------------------------

// An answer of the service. Where it is busy, it is asked again when it said.
async function ask(address, options = {}) {
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(address, options).catch(error => {
      throw error.name === "AbortError" ? error : new Error("The service does not answer. Is it still running?");
    });
    const content = await response.json().catch(() => ({}));
    if (response.ok) {
      return content;
    }
    if (![429, 503].includes(response.status) || attempt === ATTEMPTS) {
      throw new Error(content.detail || `The service answers with ${response.status}.`);
    }
    $("status").textContent = `${sentence(content.detail || "the service is busy")}. Asking again …`;
    const seconds = Number(response.headers.get("Retry-After") || 1);
    await new Promise(done => setTimeout(done, 1000 * seconds * (0.75 + Math.random() / 2)));
    options.signal?.throwIfAborted();
  }
}

function request() {
  const encoder = $("encoder").value;
  const asked = { encoder, k };
  if (by?.like) {
    return [`/api/search-like?${new URLSearchParams({ id: by.like, ...asked })}`, {}];
  }
  if (by) {
    const headers = { "Content-Type": "application/octet-stream" };
    return [`/api/search-by-picture?${new URLSearchParams(asked)}`, { method: "POST", headers, body: by.file }];
  }
  const body = JSON.stringify({ query: $("query").value, ...asked, reranker: $("reranker").value, push: push() });
  return ["/api/search", { method: "POST", headers: { "Content-Type": "application/json" }, body }];
}

function push() {
  const [source, target] = [$("source").value.trim(), $("target").value.trim()];
  const strength = Number($("strength").value);
  return source && target && strength ? { source, target, strength } : null;
}

// remember: in the address. focus: on the results, so that keys lead through them. more: of the same search.
async function search({ remember = true, focus = false, more = false } = {}) {
  clearTimeout(later);
  running?.abort();
  const mine = (running = new AbortController());
  k = more ? Math.min(MOST, k + STEP) : STEP;
  document.body.classList.add("busy");
  try {
    await learn(mine.signal);
    if (!by && !$("query").value.trim()) {
      return rest(focus);
    }
    const began = performance.now();
    const [address, options] = request();
    const found = await ask(address, { ...options, signal: mine.signal });
    if (remember) {
      keep();
    }
    show(found, performance.now() - began, more ? chosen : 0);
    if (focus) {
      $("list").children[chosen]?.firstElementChild.focus({ preventScroll: true });
    }
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

function soon() {
  clearTimeout(later);
  later = setTimeout(search, PAUSE);
}

// What there is to search, asked for once.
async function learn(signal) {
  if (about) {
    return;
  }
  about = await ask("/api/about", { signal });
  const many = Math.max(...about.encoders.map(({ pictures }) => pictures));
  $("about").textContent = `${about.title} · ${many.toLocaleString("en")} pictures`;
  $("left-out").hidden = !about.left_out.length;
  $("left-out").textContent = `Left out: ${about.left_out.join(", ")}.`;
  $("encoder").replaceChildren(...about.encoders.map(({ name }) => element("option", { value: name }, name)));
  $("examples").hidden = !about.examples.length;
  $("examples").firstElementChild.replaceChildren(...about.examples.flatMap((text, i) => [i ? ", or " : "", example(text)]));
  $("sample").replaceChildren(...about.pictures.map(picture => card(picture, named(picture), () => alike(picture))));
  restore();
}

function example(text) {
  const button = element("button", { type: "button", class: "link" }, text);
  button.addEventListener("click", () => {
    forget();
    $("query").value = text;
    search();
  });
  return button;
}

// --- showing --------------------------------------------------------------------------------------

const sentence = text => text[0].toUpperCase() + text.slice(1);

function fail(message) {
  blank();
  $("problem").textContent = sentence(message);
}

// Nothing is asked: some pictures are shown.
function rest(asked) {
  blank();
  $("some").hidden = !about.pictures.length;
  if (asked) {
    $("status").textContent = "Type what the picture shows, or choose a picture to search by.";
  }
}

function blank() {
  answer = null;
  [$("problem"), $("status")].forEach(element => element.replaceChildren());
  [$("results"), $("some")].forEach(section => (section.hidden = true));
  note([]);
}

function note(notes) {
  $("notes").replaceChildren(...[...notes, ...(about?.notes ?? [])].map(text => element("li", {}, text)));
}

function show(found, milliseconds, first) {
  blank();
  answer = found;
  note(answer.notes);
  const many = answer.results.length;
  const read = answer.phrases.length > 1 ? `, read as ${answer.phrases.length} objects` : "";
  $("status").textContent = many ? `The best ${many} by ${answer.encoder}${read}, in ${Math.round(milliseconds)} ms.` : "Nothing was found.";
  $("results").hidden = !many;
  $("more").hidden = many < k || k === MOST;
  $("list").replaceChildren(...answer.results.map((result, i) => card(result, [`${i + 1}`, result.score.toFixed(3)], () => choose(i))));
  if (many) {
    choose(Math.min(first, many - 1));
  }
}

function card(picture, labels, act) {
  const [first, ...others] = [labels].flat();
  const label = element("span", { class: "label" }, element("b", {}, first), ...others);
  const button = element("button", { type: "button" }, element("span", { class: "frame" }, image(picture)), label);
  button.addEventListener("click", act);
  return element("li", {}, button);
}

// A picture with the windows of its matches. One that could not be had is asked for again.
function image(result, numbered = false, made = element("img", {})) {
  let failures = 0;
  made.alt = result.caption || result.id;
  made.onerror = () => failures++ < ATTEMPTS && setTimeout(() => (made.src = `${result.picture}&again=${failures}`), 1000 * failures);
  made.onload = () => {
    made.nextElementSibling?.remove();
    made.after(windows(result.matches ?? [], made, numbered));
  };
  made.src = result.picture;
  return made;
}

function choose(number) {
  chosen = number;
  const result = answer.results[number];
  $("list").querySelectorAll("button").forEach((button, i) => {
    button.toggleAttribute("aria-current", i === number);
    button.tabIndex = i === number ? 0 : -1;
  });
  $("place").textContent = number ? `Why it is number ${number + 1}` : "Why it came first";
  $("why").textContent = result.why;
  $("caption").textContent = named(result);
  image(result, true, $("picture"));
  parts(result);
}

// Caption and file, or the file alone where the caption is made of its name.
function named({ id, caption }) {
  const words = text => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();
  const file = id.split("/").pop().replace(/\.[^.]*$/, "");
  return !caption || words(caption) === words(file) ? id : `${caption} · ${id}`;
}

// Over all of a picture; fit says what of it the encoder looked at.
function windows(matches, { naturalWidth: width, naturalHeight: height }, numbered) {
  const [short, long] = [Math.min(width, height), Math.max(width, height)];
  const unit = short / 100;
  const [across, down] = { shortest: [short, short], squash: [width, height], longest: [long, long] }[answer?.fit ?? "squash"];
  const [x0, y0] = [(width - across) / 2, (height - down) / 2];
  const drawn = shape("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  matches.forEach(({ box: [left, top, right, bottom], place }, i) => {
    const [x, y] = [clamp(x0 + left * across, 0, width), clamp(y0 + top * down, 0, height)];
    const [x1, y1] = [clamp(x0 + right * across, 0, width), clamp(y0 + bottom * down, 0, height)];
    const box = { x, y, width: x1 - x, height: y1 - y, rx: 1.5 * unit };
    const marks = [shape("rect", { ...box, class: "halo" }), shape("rect", { ...box, class: "line" })];
    if (numbered) {
      const same = matches.slice(0, i).filter(match => match.box.join() === matches[i].box.join()).length;
      const [cx, cy] = [clamp(x, 5 * unit, width - 5 * unit) + 8 * unit * same, clamp(y, 5 * unit, height - 5 * unit)];
      marks.push(shape("circle", { cx, cy, r: 3.6 * unit, "stroke-width": 0.8 * unit }));
      marks.push(shape("text", { x: cx, y: cy, "font-size": 4.4 * unit }, `${i + 1}`));
    }
    drawn.append(shape("g", {}, ...marks));
  });
  return drawn;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function parts(result) {
  const { weight } = answer;
  const rows = result.matches.map((match, i) => row(i + 1, match.phrase, match.place, match.cosine));
  if (weight > 0) {
    rows.push(row("", "the picture as a whole", "", result.cosine));
  }
  $("sum").replaceChildren(...rows);
  const [share, score] = [Math.round(100 * weight), result.score.toFixed(3)];
  const whole = weight > 0 ? `, the whole for ${share} %` : "";
  $("total").textContent =
    weight === 1 || !result.matches.length
      ? `Ordered by the picture as a whole: ${score}.`
      : `Score ${score}: the mean of the objects counts for ${100 - share} %${whole}.`;
}

function row(number, name, where, cosine) {
  const bar = element("i", {});
  bar.style.setProperty("--share", clamp(cosine, 0, 1));
  const what = element("span", { class: "what" }, element("span", {}, name), element("span", { class: "where" }, where));
  const gauge = element("span", { class: "gauge" }, bar, cosine.toFixed(2));
  const line = element("li", {}, element("span", { class: "number" }, `${number}`), what, gauge);
  for (const [name, on] of number ? [["pointerenter", true], ["pointerleave", false]] : []) {
    line.addEventListener(name, () => look(number - 1, on));
  }
  return line;
}

function look(number, on) {
  const drawn = $("picture").nextElementSibling;
  drawn?.classList.toggle("looking", on);
  drawn?.children[number]?.classList.toggle("looked-at", on);
}

function element(name, attributes, ...children) {
  return filled(document.createElement(name), attributes, children);
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

async function take(file) {
  if (!file) {
    return;
  }
  try {
    forget();
    const sent = await shrunk(file);
    searchBy({ file: sent }, URL.createObjectURL(sent), "");
    search({ remember: false });
  } catch (problem) {
    fail(problem.message);
  }
}

function alike(picture) {
  forget();
  searchBy({ like: picture.id }, picture.picture, `Like “${named(picture)}”`);
  search();
  scrollTo({ top: 0 });
}

function searchBy(what, preview, text) {
  by = what;
  $("preview").hidden = false;
  $("preview").src = preview;
  $("by-what").textContent = text;
  $("chosen").hidden = false;
  steering();
}

function forget() {
  URL.revokeObjectURL($("preview").src);
  $("chosen").hidden = true;
  [by, $("file").value] = [null, ""];
  steering();
}

// A large picture is made smaller here; one that only this browser can read, such as HEIC, becomes a JPEG.
async function shrunk(file) {
  const foreign = /hei[cf]/i.test(`${file.type} ${file.name}`);
  if (file.size <= HEAVY && !foreign) {
    return file;
  }
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = new OffscreenCanvas(Math.ceil(bitmap.width * scale), Math.ceil(bitmap.height * scale));
    const paper = canvas.getContext("2d");
    paper.fillStyle = "#fff"; // as the service has it, where a picture is transparent
    paper.fillRect(0, 0, canvas.width, canvas.height);
    paper.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
  } catch {
    if (foreign || file.size > MOST_BYTES) {
      const why = foreign ? "is HEIC, which this browser cannot read" : `has more than ${MOST_BYTES / 1e6} MB, and this browser cannot shrink it`;
      throw new Error(`“${file.name}” ${why}: save it as a smaller JPEG or PNG.`);
    }
    return file;
  }
}

// --- the address: a search can be kept, sent and gone back to -------------------------------------

const KEPT = { q: "query", encoder: "encoder", order: "reranker", from: "source", to: "target", by: "strength" };

function keep() {
  const kept = Object.entries(KEPT).map(([name, id]) => [name, $(id).value]);
  const query = new URLSearchParams(kept.filter(([name, value]) => value && !(name === "by" && value === "0")));
  if (by?.like) {
    query.set("like", by.like);
  }
  if (!by?.file && `?${query}` !== location.search) {
    history.pushState(null, "", `?${query}`);
  }
}

function restore() {
  const query = new URLSearchParams(location.search);
  for (const [name, id] of Object.entries(KEPT)) {
    const value = query.get(name);
    const known = $(id).tagName !== "SELECT" || [...$(id).options].some(option => option.value === value);
    if (value !== null && known) {
      $(id).value = value;
    }
  }
  order = $("reranker").value;
  $("query").value ||= query.get("q") ?? "";
  offer();
  forget();
  if (query.has("like")) {
    searchBy({ like: query.get("like") }, "", `Like “${query.get("like")}”`);
    $("preview").hidden = true;
  }
}

// --- what an encoder and a search can do ----------------------------------------------------------

// One without windows orders by the whole picture, whatever was chosen for others.
function offer() {
  const { windows } = about.encoders.find(({ name }) => name === $("encoder").value);
  for (const option of $("reranker").options) {
    option.disabled = !windows && option.value !== "none";
  }
  $("reranker").value = windows ? order : "none";
  $("each").hidden = !windows;
}

function steering() {
  const words = $("source").value.trim() && $("target").value.trim();
  const wanted = Number($("strength").value) > 0;
  $("strength-value").textContent = Number($("strength").value).toFixed(2);
  $("needs").textContent = by
    ? (words && wanted ? "Steering is for searches by words: it is not applied to a picture." : "")
    : wanted && !words ? "Steering needs two words: one to lead from, one to lead to." : "";
}

// --- keys -----------------------------------------------------------------------------------------

function keys(event) {
  if (event.target.closest("input, select, textarea, dialog") || event.ctrlKey || event.altKey || event.metaKey) {
    return;
  }
  const last = (answer?.results.length ?? 0) - 1;
  const next = { ArrowLeft: chosen - 1, ArrowRight: chosen + 1, Home: 0, End: last }[event.key];
  if (event.key === "/") {
    event.preventDefault();
    $("query").focus();
    $("query").select();
  } else if (next !== undefined && last >= 0) {
    event.preventDefault();
    choose(clamp(next, 0, last));
    $("list").children[chosen].firstElementChild.focus();
  }
}

function enlarge() {
  const result = answer.results[chosen];
  $("full-picture").alt = result.caption || result.id;
  $("full-picture").src = `${result.picture}&size=full`;
  $("full").showModal();
}

// --- beginning ------------------------------------------------------------------------------------

function listen() {
  $("form").addEventListener("submit", event => {
    event.preventDefault();
    forget();
    search({ focus: true });
  });
  $("reranker").addEventListener("change", () => (order = $("reranker").value));
  $("encoder").addEventListener("change", offer);
  ["encoder", "reranker"].forEach(id => $(id).addEventListener("change", () => search()));
  for (const id of ["source", "target", "strength"]) {
    $(id).addEventListener("input", steering);
    $(id).addEventListener("input", () => by || soon());
  }
  $("preview").addEventListener("error", () => ($("preview").hidden = true));
  $("file").addEventListener("change", () => take($("file").files[0]));
  $("forget").addEventListener("click", () => {
    forget();
    search();
    $("query").focus();
  });
  $("like").addEventListener("click", () => alike(answer.results[chosen]));
  $("more").addEventListener("click", () => search({ remember: false, more: true }));
  $("enlarge").addEventListener("click", enlarge);
  $("full").addEventListener("click", event => event.target.closest("img") || $("full").close());
  document.addEventListener("keydown", keys);
  document.addEventListener("paste", event => take(event.clipboardData?.files[0]));
  for (const [name, on] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    document.addEventListener(name, event => {
      event.preventDefault();
      document.body.classList.toggle("dropping", on);
    });
  }
  document.addEventListener("drop", event => take(event.dataTransfer?.files[0]));
  addEventListener("popstate", () => {
    $("query").value = "";
    restore();
    search({ remember: false });
  });
  $("options").open = matchMedia("(min-width: 44rem)").matches;
}

listen();
search({ remember: false });
