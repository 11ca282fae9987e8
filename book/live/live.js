// A CLIP in the page: the text tower, three ways to rank pictures, and the controls of "Try it live".
//
// Plain script, because a text tower of 0.4 million parameters needs no more: this file has 26 kB, and the
// smallest WebAssembly file of onnxruntime-web 1.30.0 has 14.2 MB. The data are explained in export.py.
"use strict";

(() => {
  const START = 1, UNKNOWN = 2; // ids of tokenizer.py
  const EPSILON = 1e-5; // of torch's LayerNorm
  const TEMPERATURE = 0.05; // of composition.merge's softmin
  const SHOWN = 12; // pictures
  const QUIET = 500; // ms without a change before the address and a screen reader hear of it
  const HERE = new URL(".", document.currentScript.src);

  // ---- numbers ---------------------------------------------------------------------------------------

  /** The bytes of an array that export.py encoded. */
  async function bytesOf(base64) {
    const deflated = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  }

  /** Half precision to single precision: sign, five bits of exponent, ten of mantissa. */
  function fromHalf(half) {
    const sign = half >> 15 ? -1 : 1, exponent = (half >> 10) & 31, mantissa = half & 1023;
    if (exponent === 0) return sign * mantissa * 2 ** -24;
    return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15); // weights are never infinite
  }

  function dot(a, aStart, b, bStart, length) {
    let sum = 0;
    for (let i = 0; i < length; i++) sum += a[aStart + i] * b[bStart + i];
    return sum;
  }

  function unit(vector) {
    const length = Math.sqrt(dot(vector, 0, vector, 0, vector.length));
    return vector.map((x) => x / length);
  }

  /** vector @ matrix, for a matrix of so many columns. */
  function times(vector, matrix, columns) {
    const result = new Float32Array(columns);
    vector.forEach((x, row) => {
      for (let c = 0; c < columns; c++) result[c] += x * matrix[row * columns + c];
    });
    return result;
  }

  function meanOf(vectors) {
    return vectors[0].map((_, i) => vectors.reduce((sum, v) => sum + v[i], 0) / vectors.length);
  }

  // ---- the text tower: open_clip's transformer, a row of `x` for each token --------------------------

  function linear(x, { weight, bias }) {
    const outs = bias.length, ins = weight.length / outs, rows = x.length / ins;
    const y = new Float32Array(rows * outs);
    for (let r = 0; r < rows; r++)
      for (let o = 0; o < outs; o++) y[r * outs + o] = bias[o] + dot(x, r * ins, weight, o * ins, ins);
    return y;
  }

  function layerNorm(x, { weight, bias }) {
    const width = weight.length, y = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += width) {
      const row = x.subarray(start, start + width);
      const mean = row.reduce((sum, v) => sum + v, 0) / width;
      const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / width;
      const scale = 1 / Math.sqrt(variance + EPSILON);
      for (let i = 0; i < width; i++) y[start + i] = (row[i] - mean) * scale * weight[i] + bias[i];
    }
    return y;
  }

  /** The error function to 1.5e-7 (Abramowitz and Stegun, 7.1.26): JavaScript has none. */
  function erf(x) {
    const t = 1 / (1 + 0.3275911 * Math.abs(x));
    const p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    return Math.sign(x) * (1 - p * Math.exp(-x * x));
  }

  const gelu = (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)); // the exact one, as in the minis

  /** What one head's query attends to: only tokens up to its own, since a text is read from the left. */
  function attend(mixed, qkv, row, width, offset, size) {
    const scores = [], query = 3 * row * width + offset; // a row of qkv: query, key, value
    for (let k = 0; k <= row; k++)
      scores.push(dot(qkv, query, qkv, (3 * k + 1) * width + offset, size) / Math.sqrt(size));
    const highest = Math.max(...scores), weights = scores.map((s) => Math.exp(s - highest));
    const total = weights.reduce((sum, w) => sum + w, 0);
    weights.forEach((w, k) => {
      const value = (3 * k + 2) * width + offset;
      for (let i = 0; i < size; i++) mixed[row * width + offset + i] += (w / total) * qkv[value + i];
    });
  }

  function attention(x, block, heads) {
    const width = block.ln_1.weight.length, size = width / heads, rows = x.length / width;
    const qkv = linear(x, block.attn_in), mixed = new Float32Array(x.length);
    for (let row = 0; row < rows; row++)
      for (let head = 0; head < heads; head++) attend(mixed, qkv, row, width, head * size, size);
    return linear(mixed, block.attn_out);
  }

  function add(x, y) {
    return x.map((v, i) => v + y[i]);
  }

  function idsOf(diet, words) {
    const ids = [START, ...words.map((word) => diet.ids.get(word) ?? UNKNOWN)];
    return [...ids.slice(0, diet.context - 1), diet.end];
  }

  function embed({ tokens, positions }, ids, width) {
    const x = positions.slice(0, ids.length * width);
    ids.forEach((id, row) => {
      for (let i = 0; i < width; i++) x[row * width + i] += tokens[id * width + i];
    });
    return x;
  }

  /** A text's unit vector, read at its end token. */
  function encode(diet, text) {
    const { tower, heads } = diet, width = tower.ln_final.weight.length;
    let x = embed(tower, idsOf(diet, wordsOf(text)), width);
    for (const block of tower.blocks) {
      x = add(x, attention(layerNorm(x, block.ln_1), block, heads));
      x = add(x, linear(linear(layerNorm(x, block.ln_2), block.mlp_in).map(gelu), block.mlp_out));
    }
    const last = layerNorm(x.subarray(x.length - width), tower.ln_final);
    return unit(times(last, tower.projection, tower.projection.length / width));
  }

  /** The same, once for each text: between two keystrokes most of a query's texts stay. */
  function vectorOf(diet, text) {
    if (!diet.known.has(text)) diet.known.set(text, encode(diet, text));
    return diet.known.get(text);
  }

  /** A phrase's vector: the mean over the templates, as encode_with_templates has it. */
  function phraseVector(diet, phrase) {
    const filled = diet.templates.map((template) => template.replace("{}", () => phrase));
    return unit(meanOf(filled.map((text) => vectorOf(diet, text))));
  }

  // ---- reading a query, by the package's own patterns ------------------------------------------------

  const every = (name) => new RegExp(LIVE.patterns[name], "gu");

  /** words.readable: the text without the punctuation around its words. */
  function readable(text) {
    const composed = text.replace(every("marks"), " ").normalize("NFKC").replace(every("invisible"), "");
    const seen = composed.replace(every("listing"), ",");
    const spaced = seen.replace(every("loose"), " ").replace(/\s+/g, " ");
    return spaced.replace(every("commas"), ", ").replace(/^[ ,]+|[ ,]+$/g, "");
  }

  function wordsOf(text) {
    return readable(text).toLowerCase().replace(every("possessive"), "").match(every("word")) ?? [];
  }

  function unknownWords(diet, text) {
    return [...new Set(wordsOf(text).filter((word) => !diet.ids.has(word)))];
  }

  /** words.listed: a few of many, and of each its beginning. */
  function listed(words, most = 5) {
    const shown = words.slice(0, most).map((word) => [...word].slice(0, 30).join("")).join(", ");
    return shown + (words.length > most ? ` and ${words.length - most} more words` : "");
  }

  /** regions.listed_phrases: the objects of a caption that is a list; any other caption is an Error. */
  function listedPhrases(caption) {
    const pattern = (name) => new RegExp(LIVE.patterns[name], "i");
    const list = readable(caption).replace(pattern("prefix"), "");
    const pieces = list.split(pattern("between"));
    const phrases = pieces.map((piece) => piece.trim().replace(pattern("article"), ""));
    for (const phrase of phrases) {
      const tie = phrase.match(pattern("ties"))?.[0];
      const hint = "Write “red circle, blue star”, or rank by the whole caption.";
      if (tie) throw new Error(`This is no list of objects: “${tie}” in “${phrase}” says more. ${hint}`);
      if (!phrase) throw new Error(`An object of the list is empty. ${hint}`);
    }
    return phrases;
  }

  // ---- ranking ---------------------------------------------------------------------------------------

  /** Dot products of a text's vector with the items from one number to another (default: all). */
  function dots({ basis, coordinates, columns }, vector, from = 0, to = coordinates.length / columns) {
    const query = times(vector, basis, columns), scores = new Float32Array(to - from);
    for (let i = from; i < to; i++) scores[i - from] = dot(query, 0, coordinates, i * columns, columns);
    return scores;
  }

  /** q + s v, back to length one: a step from one word towards another. */
  function steered(diet, vector, { from, to, strength }) {
    if (!strength || from === to) return vector;
    const source = phraseVector(diet, from);
    const direction = unit(phraseVector(diet, to).map((x, i) => x - source[i]));
    return unit(vector.map((x, i) => x + strength * direction[i]));
  }

  const steeredPhrases = (diet, state) =>
    listedPhrases(state.query).map((phrase) => steered(diet, phraseVector(diet, phrase), state));

  /** One score from those of a picture with each phrase: composition.merge. */
  const MERGES = {
    average: (scores) => scores.reduce((sum, s) => sum + s, 0) / scores.length,
    min: (scores) => Math.min(...scores),
    max: (scores) => Math.max(...scores),
    softmin: (scores) =>
      -TEMPERATURE * Math.log(MERGES.average(scores.map((s) => Math.exp(-s / TEMPERATURE)))),
  };

  /** Best first; equal scores keep their order. */
  const sorted = (answers) => answers.sort((a, b) => b.score - a.score);

  function byCaption(diet, state) {
    const scores = dots(diet.pictures, steered(diet, vectorOf(diet, state.query), state));
    return sorted(Array.from(scores, (score, item) => ({ item, score })));
  }

  function byBag(diet, state) {
    const scores = steeredPhrases(diet, state).map((phrase) => dots(diet.pictures, phrase));
    const merged = (item) => MERGES[state.merge](scores.map((ofPhrase) => ofPhrase[item]));
    return sorted(Array.from(scores[0], (_, item) => ({ item, score: merged(item) })));
  }

  /** The caption's shortlist, reordered by the mean cosine of phrases with windows, no window twice. */
  function byMatching(diet, state) {
    const phrases = steeredPhrases(diet, state), shortlist = byCaption(diet, state).slice(0, LIVE.shortlist);
    return sorted(shortlist.map(({ item }) => match(diet, phrases, item)));
  }

  function match(diet, phrases, item) {
    const windows = diet.boxes.length, first = item * windows;
    const cosines = phrases.map((phrase) => dots(diet.windows, phrase, first, first + windows));
    const pairs = assign(cosines).map((window, phrase) =>
      ({ phrase, window, cosine: cosines[phrase][window] ?? 0 })); // without a window: 0
    return { item, score: MERGES.average(pairs.map(({ cosine }) => cosine)), pairs };
  }

  /**
   * The one-to-one assignment of the highest sum: a window for each phrase, or -1 for those left over where
   * phrases outnumber windows. Exact: phrase by phrase, the best sum for every set of windows taken so far,
   * a set being the bits of a number. Nine windows have 512 sets.
   */
  function assign(cosines) {
    const windows = cosines[0].length, sets = 1 << windows, mayStay = cosines.length > windows;
    let sums = new Float64Array(sets).fill(-Infinity);
    sums[0] = 0;
    const steps = cosines.map((row) => {
      const next = mayStay ? sums.slice() : new Float64Array(sets).fill(-Infinity);
      const taken = new Int8Array(sets).fill(-1);
      for (let set = 0; set < sets; set++) if (sums[set] > -Infinity) extend(set, sums[set], row, next, taken);
      sums = next;
      return taken;
    });
    return retrace(steps, mayStay ? sets - 1 : sums.indexOf(Math.max(...sums)));
  }

  /** Adds each free window to a set, where that gives a better sum. */
  function extend(set, sum, row, next, taken) {
    row.forEach((cosine, window) => {
      const larger = set | (1 << window);
      if (larger !== set && sum + cosine > next[larger]) {
        next[larger] = sum + cosine;
        taken[larger] = window;
      }
    });
  }

  function retrace(steps, set) {
    const chosen = [];
    for (let phrase = steps.length - 1; phrase >= 0; phrase--) {
      const window = steps[phrase][set];
      chosen.unshift(window);
      if (window >= 0) set ^= 1 << window;
    }
    return chosen;
  }

  const WAYS = { caption: byCaption, bag: byBag, match: byMatching };

  // ---- data ------------------------------------------------------------------------------------------

  async function unpackCompact({ items, step, basis, middle, wide, narrow }) {
    const [b, m, w, n] = await Promise.all([basis, middle, wide, narrow].map(bytesOf));
    const middles = new Float32Array(m), columns = middles.length;
    const codes = new Int16Array(items * columns); // column by column, those of two bytes first
    codes.set(new Int16Array(w));
    codes.set(new Int8Array(n), w.byteLength / 2);
    const coordinates = new Float32Array(items * columns);
    for (let c = 0; c < columns; c++)
      for (let i = 0; i < items; i++) coordinates[i * columns + c] = middles[c] + step * codes[c * items + i];
    return { basis: new Float32Array(b), coordinates, columns };
  }

  /** The tower's tensors, by open_clip's names, as its layers. */
  async function unpackTower(text, depth) {
    const tensors = {};
    for (const [name, half] of Object.entries(text))
      tensors[name] = Float32Array.from(new Uint16Array(await bytesOf(half)), fromHalf);
    const layer = (name, mark = ".") =>
      ({ weight: tensors[`${name}${mark}weight`], bias: tensors[`${name}${mark}bias`] });
    const block = (path) => ({
      ln_1: layer(`${path}.ln_1`),
      attn_in: layer(`${path}.attn.in_proj`, "_"),
      attn_out: layer(`${path}.attn.out_proj`),
      ln_2: layer(`${path}.ln_2`),
      mlp_in: layer(`${path}.mlp.c_fc`),
      mlp_out: layer(`${path}.mlp.c_proj`),
    });
    return {
      tokens: tensors["token_embedding.weight"],
      positions: tensors.positional_embedding,
      blocks: Array.from({ length: depth }, (_, i) => block(`transformer.resblocks.${i}`)),
      ln_final: layer("ln_final"),
      projection: tensors.text_projection,
    };
  }

  async function unpackDiet(packed) {
    const tower = await unpackTower(packed.text, packed.depth);
    const [pictures, windows] = await Promise.all([packed.pictures, packed.windows].map(unpackCompact));
    const ids = new Map(packed.words.map((word, i) => [word, UNKNOWN + 1 + i])), end = UNKNOWN + 1 + ids.size;
    return { ...packed, tower, pictures, windows, ids, end, known: new Map() };
  }

  const missing = (file) => `The file ${file} could not be loaded. Reload the page to try again.`;

  /** Loads a script and waits for it. */
  function load(file) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(file, HERE);
      script.onload = resolve;
      script.onerror = () => reject(new Error(missing(file)));
      document.head.append(script);
    });
  }

  const diets = new Map(); // name -> promise of an unpacked diet

  function dietOf(name) {
    if (!diets.has(name)) {
      const ready = load(`${name}.js`).then(() => unpackDiet(LIVE.loaded[name]));
      ready.catch(() => diets.delete(name)); // the next change of a control tries again
      diets.set(name, ready);
    }
    return diets.get(name);
  }

  /** The scenes: for each the three objects as {colour, noun}. */
  async function unpackScenes() {
    const numbers = new Uint8Array(await bytesOf(LIVE.things));
    const colours = Object.keys(LIVE.colours), nouns = Object.keys(LIVE.outlines);
    const things = Array.from({ length: numbers.length / 2 }, (_, i) =>
      ({ colour: colours[numbers[2 * i]], noun: nouns[numbers[2 * i + 1]] }));
    return Array.from({ length: things.length / 3 }, (_, i) => things.slice(3 * i, 3 * i + 3));
  }

  // ---- pictures --------------------------------------------------------------------------------------

  const captionOf = (scene) => scene.map(({ colour, noun }) => `${colour} ${noun}`).join(", ");

  function svg(name, attributes, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  function shape({ colour, noun }, [x, y]) {
    const corners = LIVE.outlines[noun], fill = LIVE.colours[colour];
    if (noun === "circle") return svg("circle", { cx: x, cy: y, r: corners[1][0], fill });
    const points = corners.map(([dx, dy]) => `${(x + dx).toFixed(4)},${(y + dy).toFixed(4)}`).join(" ");
    return svg("polygon", { points, fill });
  }

  /** A window with its phrase's number. Frames shrink from phrase to phrase, so that none hides another. */
  function frame({ phrase, window }, boxes) {
    const [left, top, right, bottom] = boxes[window], inset = 0.015 + 0.022 * phrase;
    const x = left + inset, y = top + inset, width = right - x - inset, height = bottom - y - inset;
    const tint = `live-tint-${phrase % 3}`;
    const label = svg("text", { x: x + 0.02, y: y + 0.085, class: tint }, String(phrase + 1));
    return svg("g", {}, svg("rect", { x, y, width, height, class: `live-window ${tint}` }), label);
  }

  function picture(scene, pairs, boxes) {
    const frames = pairs.filter(({ window }) => window >= 0).map((pair) => frame(pair, boxes));
    const canvas = svg("rect", { width: 1, height: 1, fill: "white" });
    const drawn = [canvas, ...scene.map((thing, i) => shape(thing, LIVE.places[i])), ...frames];
    return svg("svg", { viewBox: "0 0 1 1", role: "img", "aria-label": captionOf(scene) }, ...drawn);
  }

  // ---- the page --------------------------------------------------------------------------------------

  const at = (name) => document.getElementById(`live-${name}`);
  const number = (value, digits = 0) =>
    value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

  function html(name, attributes, ...children) {
    const element = Object.assign(document.createElement(name), attributes);
    element.append(...children);
    return element;
  }

  /** Where a window lies, in words, for those who do not see the frame. */
  function placeOf([left, top, right, bottom]) {
    const third = (middle) => (middle < 0.4 ? 0 : middle > 0.6 ? 2 : 1);
    const row = ["top", "middle", "bottom"][third((top + bottom) / 2)];
    const column = ["left", "centre", "right"][third((left + right) / 2)];
    return row === "middle" && column === "centre" ? "centre" : `${row} ${column}`;
  }

  function pairInWords({ phrase, window, cosine }, boxes) {
    const where = window < 0 ? "no window left" : `${placeOf(boxes[window])}, ${number(cosine, 2)}`;
    return html("li", {}, `${phrase + 1}: ${where}`);
  }

  function result({ item, score, pairs = [] }, boxes, asked) {
    const scene = LIVE.scenes[item], matches = pairs.map((pair) => pairInWords(pair, boxes));
    const parts = [picture(scene, pairs, boxes), html("span", { className: "live-score" }, number(score, 3))];
    if (captionOf(scene) === asked) parts.push(html("strong", {}, " as asked"));
    if (pairs.length) parts.push(html("ul", { className: "live-pairs" }, ...matches));
    return html("li", {}, ...parts);
  }

  /** The caption of the picture that shows what a query lists, for readers to judge by: no ranking sees it. */
  function askedFor(query) {
    try {
      return listedPhrases(query.toLowerCase()).sort().join(", ");
    } catch {
      return ""; // no list, no such picture
    }
  }

  function placeOfAsked(answers, asked) {
    const wanted = LIVE.scenes.findIndex((scene) => captionOf(scene) === asked);
    if (wanted < 0) return "No picture shows exactly this query.";
    const place = answers.findIndex(({ item }) => item === wanted) + 1;
    return place ? `The one asked for is number ${number(place)}.` : "The one asked for is not among them.";
  }

  /** A piece of the query, its unknown words marked. */
  function marked(text, diet) {
    const pieces = text.split(/([\s,]+)/).map((piece) =>
      unknownWords(diet, piece).length ? html("mark", {}, piece) : piece);
    return html("span", { className: "live-phrase" }, ...pieces);
  }

  function showReading(diet, state) {
    const pieces = state.how === "caption" ? [state.query.trim()] : listedPhrases(state.query);
    const shown = pieces.map((piece, i) => {
      const chip = marked(piece, diet);
      if (state.how === "match") chip.prepend(html("b", {}, `${i + 1} `));
      return chip;
    });
    const remark = remarkOn(diet, state, pieces);
    at("reading").replaceChildren("Read as ", ...shown, ` ${remark}`);
    return remark;
  }

  /** What the tokenizer warns of: words it does not know, and texts that are too long. */
  function remarkOn(diet, state, pieces) {
    const unknown = unknownWords(diet, state.query), room = diet.context - 2; // for the start and the end
    const remarks = [
      unknown.length ? `${state.diet} never saw: ${listed(unknown)}.` : "",
      pieces.some((piece) => wordsOf(piece).length > room) ? `Only the first ${room} words are read.` : "",
    ];
    return remarks.filter(Boolean).join(" ");
  }

  function show(diet, answers, asked) {
    const best = answers.slice(0, SHOWN);
    at("results").replaceChildren(...best.map((answer) => result(answer, diet.boxes, asked)));
  }

  function complain(message) {
    at("error").textContent = message;
    at("error").hidden = !message;
    if (message) at("status").textContent = "";
    at("query").setAttribute("aria-invalid", String(Boolean(message)));
    at("results").classList.toggle("live-stale", Boolean(message));
  }

  // ---- state: controls, address ----------------------------------------------------------------------

  const CHOICES = ["how", "diet"], FIELDS = ["query", "merge", "from", "to", "strength"];

  function readControls() {
    const checked = (name) => document.querySelector(`input[name="live-${name}"]:checked`);
    const choices = CHOICES.map((name) => [name, checked(name).value]);
    const values = [...choices, ...FIELDS.map((name) => [name, at(name).value])];
    return { ...Object.fromEntries(values), strength: Number(at("strength").value) };
  }

  /** Sets what an address names; a value that a control does not have leaves it as it is. */
  function writeControls(values) {
    for (const [name, value] of values)
      if (CHOICES.includes(name)) choose(name, value);
      else if (FIELDS.includes(name)) fill(at(name), value);
  }

  function choose(name, value) {
    const inputs = [...document.querySelectorAll(`input[name="live-${name}"]`)];
    const chosen = inputs.find((input) => input.value === value);
    if (chosen) chosen.checked = true;
  }

  function fill(control, value) {
    const before = control.value;
    if (control.type === "range" && !Number.isFinite(Number(value))) return;
    control.value = value;
    if (control.value === "" && value !== "") control.value = before; // a select without such an option
  }

  const addressOf = (state) => `#${new URLSearchParams(state)}`;

  let settling = 0;

  /** Once typing pauses: the address is written (browsers limit how often), and a screen reader is told. */
  function settle(state, message) {
    clearTimeout(settling);
    settling = setTimeout(() => {
      history.replaceState(null, "", addressOf(state));
      at("said").textContent = message;
    }, QUIET);
  }

  function showControls(state) {
    at("strength-value").textContent = number(state.strength, 1);
    at("merging").hidden = state.how !== "bag";
    at("share").href = addressOf(state);
    const same = state.from === state.to;
    at("steer-note").textContent = same ? "A word and itself have no direction between them." : "";
  }

  // ---- from a change to an answer --------------------------------------------------------------------

  /** All pictures that a state ranks, best first: [{item, score, pairs}]. The tests ask it and `wordsOf`, too. */
  async function rank(state) {
    return WAYS[state.how](await dietOf(state.diet), state);
  }

  function answer(diet, state) {
    const start = performance.now();
    const remark = showReading(diet, state);
    const answers = WAYS[state.how](diet, state), asked = askedFor(state.query);
    show(diet, answers, asked);
    const place = placeOfAsked(answers, asked), milliseconds = number(performance.now() - start);
    at("status").textContent = `${number(answers.length)} pictures ranked in ${milliseconds} ms. ${place}`;
    return `${remark} First: ${captionOf(LIVE.scenes[answers[0].item])}. ${place}`;
  }

  async function update() {
    const state = readControls();
    showControls(state);
    if (!LIVE.loaded[state.diet]) at("status").textContent = `Loading ${state.diet}.`;
    const outdated = () => addressOf(readControls()) !== addressOf(state);
    let message = "";
    try {
      const diet = await dietOf(state.diet);
      if (outdated()) return; // a control was moved while the diet was on its way
      if (!wordsOf(state.query).length) throw new Error("Type what the picture should show: “red circle, blue star”.");
      message = answer(diet, state);
      complain("");
    } catch (error) {
      if (outdated()) return;
      message = error.message;
      at("reading").replaceChildren();
      complain(message);
    }
    settle(state, message);
  }

  function fillWords(select, chosen) {
    const groups = { colours: Object.keys(LIVE.colours), shapes: Object.keys(LIVE.outlines) };
    const options = (words) => words.map((word) => html("option", { value: word }, word));
    for (const [label, words] of Object.entries(groups))
      select.append(html("optgroup", { label }, ...options(words)));
    select.value = chosen;
  }

  function openAddress() {
    writeControls(new URLSearchParams(location.hash.slice(1)));
    update();
  }

  async function start() {
    at("app").hidden = false;
    if (!globalThis.LIVE) return complain(missing("gallery.js"));
    LIVE.scenes = await unpackScenes();
    Object.assign(LIVE, { rank, wordsOf });
    fillWords(at("from"), "hexagon");
    fillWords(at("to"), "pentagon");
    at("app").addEventListener("input", update);
    at("app").addEventListener("submit", (event) => event.preventDefault());
    addEventListener("hashchange", openAddress);
    openAddress();
  }

  start().catch((error) => complain(error.message));
})();
