/* The forward pass of the course's ViT, with the names that the course gives its parts,
   for the figures in which it runs. figures/front_end.py puts it before their modules. */

/* Tokens are a list of N rows, a Float64Array each. Weights have PyTorch's layout and are
   such arrays too: a mixture of kinds would run at half the speed. */

const table = (n, make) => Array.from({ length: n }, (_, i) => make(i));
const add = (x, y) => x.map((row, i) => row.map((number, j) => number + y[i][j]));

/* A photograph, S × S pixels of red, green and blue, as an image of the model's (C·S·S).
   On a light ground it becomes a negative where the model's images lie on black. */
function imageOf(rgb, { in_channels: C, image_size: S }, negative) {
  const bytes = new Uint8Array(C * S * S);
  let edge = 0;
  for (let i = 0; i < S * S; i++) {
    const [red, green, blue] = rgb.subarray(3 * i, 3 * i + 3);
    const luma = 0.299 * red + 0.587 * green + 0.114 * blue;
    for (let c = 0; c < C; c++) bytes[S * S * c + i] = Math.round(C === 1 ? luma : rgb[3 * i + c]);
    const [row, column] = [Math.floor(i / S), i % S];
    if ([0, S - 1].includes(row) || [0, S - 1].includes(column)) edge += luma / (4 * S - 4);
  }
  return negative && edge > 127 ? bytes.map((byte) => 255 - byte) : bytes;
}

/* Bytes of C·S·S pixels → (byte / 255 - mean) / std, each channel with its own. */
function normalizedImage(bytes, { image_size: S }, mean, std) {
  return Float64Array.from(bytes, (byte, i) => {
    const c = Math.floor(i / (S * S));
    return (byte / 255 - mean[c]) / std[c];
  });
}

/* (N, in) → (N, out) */
function linear(x, weight, bias) {
  return x.map((row) => {
    const result = new Float64Array(bias.length);
    for (let out = 0; out < bias.length; out++) {
      result[out] = dot(row, weight, out * row.length) + bias[out];
    }
    return result;
  });
}

/* Chapter 01. An image (C·S·S) → n rows of C·P·P numbers, patch by patch, row by row. */
function patchify(image, { in_channels: C, image_size: S, patch_size: P }) {
  const side = S / P;
  return table(side * side, (patch) => {
    const [top, left] = [P * Math.floor(patch / side), P * (patch % side)];
    const row = new Float64Array(C * P * P);
    for (let c = 0, at = 0; c < C; c++) {
      for (let y = top; y < top + P; y++) {
        for (let x = left; x < left + P; x++, at++) row[at] = image[S * (S * c + y) + x];
      }
    }
    return row;
  });
}

/* → the tokens without positions (N, D), and with them. */
function embed(image, sizes, { proj, cls_token, pos_embed }) {
  const patches = linear(patchify(image, sizes), proj.weight, proj.bias); // (n, D)
  const bare = [cls_token, ...patches]; // (N, D)
  const D = cls_token.length;
  return [bare, bare.map((row, i) => Float64Array.from(row, (number, j) => number + pos_embed[D * i + j]))];
}

/* Chapter 02. q, k, v: (N, D_h) each → the output (N, D_h) and the weights (N, N). */
function attention(q, k, v) {
  const [N, width] = [q.length, q[0].length];
  const weights = q.map((query) => {
    const scores = new Float64Array(N);
    for (let j = 0; j < N; j++) scores[j] = dot(query, k[j]) / Math.sqrt(width);
    return softmax(scores);
  });
  const output = weights.map((row) => {
    const sum = new Float64Array(width);
    for (let j = 0; j < N; j++) {
      for (let i = 0; i < width; i++) sum[i] += row[j] * v[j][i];
    }
    return sum;
  });
  return [output, weights];
}

/* Chapter 03. → the output (N, D), the weights (h, N, N), queries, keys and values
   (N, 3·D), and the heads' outputs, joined (N, D). */
function multiHead(x, { qkv, proj }, { dim, num_heads }) {
  const all = linear(x, qkv.weight, qkv.bias); // (N, 3·D)
  const width = dim / num_heads;
  const merged = x.map(() => new Float64Array(dim));
  const weights = table(num_heads, (head) => {
    const [q, k, v] = [0, 1, 2].map((part) => {
      const from = part * dim + head * width;
      return all.map((row) => row.slice(from, from + width)); // (N, D_h)
    });
    const [output, found] = attention(q, k, v);
    output.forEach((row, i) => merged[i].set(row, head * width));
    return found;
  });
  return [linear(merged, proj.weight, proj.bias), weights, all, merged];
}

/* Chapter 04 */
function layerNorm(x, { weight, bias }, eps) {
  return x.map((row) => {
    const mean = row.reduce((a, b) => a + b) / row.length;
    const variance = row.reduce((sum, number) => sum + (number - mean) ** 2, 0) / row.length;
    const deviation = Math.sqrt(variance + eps);
    return row.map((number, i) => (weight[i] * (number - mean)) / deviation + bias[i]);
  });
}

/* erf x = 2/√π · exp(-x²) · (x + x·2x²/3 + x·(2x²)²/(3·5) + …), all terms of one sign */
function erf(x) {
  if (Math.abs(x) > 6) return Math.sign(x); // to all digits
  let sum = x, term = x;
  for (let odd = 3; Math.abs(term) > 1e-17 * Math.abs(sum); odd += 2) {
    term *= (2 * x * x) / odd;
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/* Chapter 05. → the output (N, D) and the hidden units (N, M). */
const gelu = (x) => 0.5 * x * (1 + erf(x / Math.SQRT2));

function mlp(x, { fc1, fc2 }) {
  const hidden = linear(x, fc1.weight, fc1.bias).map((row) => row.map(gelu)); // (N, M)
  return [linear(hidden, fc2.weight, fc2.bias), hidden];
}

/* Chapters 06 and 07, block by block, with the logit lens of chapter 10: after each block
   the final LayerNorm and the head read the class token, as if no block followed.
   image: C·S·S normalized numbers. Yields { logits: J, read: D } for no block, and for
   each block also { attention: (h, N, N) }; the last logits are the model's. What else it
   yields are the tokens on their way, (N, D) each if nothing else is said. In the middle
   of a block it yields null: whoever runs it may pause there too. */
export function* run(image, sizes, weights, skips = true) {
  const { embedding, encoder, head } = weights;
  const norm = (x, parameters) => layerNorm(x, parameters, sizes.eps);
  const lens = (x) => {
    const read = norm([x[0]], encoder.norm); // (1, D)
    return { read: read[0], logits: linear(read, head.weight, head.bias)[0] };
  };
  const onto = (x, branch) => (skips ? add(x, branch) : branch);
  const [bare, embedded] = embed(image, sizes, embedding);
  let x = embedded;
  yield { ...lens(x), bare, x };
  for (let i = 0; i < sizes.depth; i++) {
    const block = encoder.blocks[i];
    const entered = x, normed = norm(x, block.norm1);
    const [attended, attention, qkv, merged] = multiHead(normed, block.attn, sizes);
    const between = onto(x, attended);
    yield null;
    const [computed, hidden] = mlp(norm(between, block.norm2), block.mlp);
    x = onto(between, computed);
    yield { ...lens(x), attention, entered, normed, qkv, merged, attended, between, hidden, computed, x };
  }
}

/* The same steps, with a pause wherever some milliseconds have passed: the page has its turn. */
const SLICE = 3;
const frame = () => new Promise((done) => requestAnimationFrame(done));
async function* sliced(steps) {
  let began = performance.now();
  for (const step of steps) {
    yield step;
    if (performance.now() - began < SLICE) continue;
    await frame();
    began = performance.now();
  }
}

/* Weights in the format safetensors: the length of a JSON text, the text, the numbers.
   → nested by the parts of their names: weights.encoder.blocks[0].norm1.bias */
export function unpack(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const weights = {};
  for (const [name, { dtype, data_offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const bytes = buffer.slice(...data_offsets.map((offset) => 8 + length + offset));
    const parts = name.split(".");
    const last = parts.pop();
    const place = parts.reduce((outer, part) => (outer[part] ??= {}), weights);
    place[last] = dtype === "F16" ? fromHalves(new Uint16Array(bytes)) : Float64Array.from(new Float32Array(bytes));
  }
  return weights;
}

/* Not every browser has a Float16Array. */
function fromHalves(halves) {
  const powers = table(32, (exponent) => 2 ** (Math.max(exponent, 1) - 25));
  return Float64Array.from(halves, (bits) => {
    const exponent = (bits >> 10) & 31;
    const size = powers[exponent] * ((bits & 1023) + (exponent ? 1024 : 0));
    return bits & 0x8000 ? -size : size;
  });
}

/* A failure is forgotten, so that the next touch tries again. */
const loading = new Map();
function load(url) {
  if (!loading.has(url)) {
    const promise = fetchBytes(url).then(unpack);
    promise.catch(() => loading.delete(url));
    loading.set(url, promise);
  }
  return loading.get(url);
}

async function fetchBytes(url) {
  if (url.startsWith("data:")) return bytesOf(url.slice(url.indexOf(",") + 1)).buffer;
  const answer = await fetch(new URL(url, document.baseURI));
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return answer.arrayBuffer();
}

/* The weights of a figure that gets them when it needs them. say: tells what it waits for. */
function makeWeights(model, say) {
  let stop = () => {};
  let given = null; // once Python has been asked
  const ask = () => new Promise((come) => {
    const heard = () => { stop(); come(); };
    stop = () => model.off("change:weights", heard);
    model.on("change:weights", heard);
    put(model, { asked: true });
  });
  return {
    async get() {
      if (!model.get("weights")) {
        say("The notebook is asked for the weights. If nothing comes, run the cell again.");
        await (given ??= ask());
      } else say("Loading the weights of the model …");
      return load(model.get("weights"));
    },
    stop: () => stop(),
  };
}
