const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~';
const SIDE = 32; // pixels; it is stretched, and blurred anyway

/**
 * A canvas with the blurred picture that a BlurHash describes, or null for a text that is none. The format: one digit
 * for the number of waves, one for their strength, four for the mean colour, two for each wave (github.com/woltapp/blurhash).
 */
export function blurred(hash) {
  const waves = read(hash);
  if (!waves) return null;
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext('2d');
  const image = context.createImageData(SIDE, SIDE);
  for (let y = 0; y < SIDE; y++)
    for (let x = 0; x < SIDE; x++) image.data.set(colourAt(waves, x, y), 4 * (y * SIDE + x));
  context.putImageData(image, 0, 0);
  return canvas;
}

function read(hash) {
  if (typeof hash !== 'string' || hash.length < 6 || [...hash].some((digit) => !DIGITS.includes(digit))) return null;
  const size = number(hash, 0, 1);
  const [across, down] = [(size % 9) + 1, Math.floor(size / 9) + 1];
  if (hash.length !== 4 + 2 * across * down) return null;
  const strongest = (number(hash, 1, 2) + 1) / 166;
  const mean = number(hash, 2, 6);
  const colours = [[mean >> 16, (mean >> 8) & 255, mean & 255].map(toLinear)];
  for (let at = 6; at < hash.length; at += 2) colours.push(wave(number(hash, at, at + 2), strongest));
  return { across, down, colours };
}

const number = (hash, from, to) =>
  [...hash.slice(from, to)].reduce((sum, digit) => sum * 83 + DIGITS.indexOf(digit), 0);

function wave(value, strongest) {
  const steps = [Math.floor(value / 361), Math.floor(value / 19) % 19, value % 19];
  return steps.map((step) => Math.sign(step - 9) * ((step - 9) / 9) ** 2 * strongest);
}

function colourAt({ across, down, colours }, x, y) {
  const sum = [0, 0, 0];
  for (let j = 0; j < down; j++) {
    for (let i = 0; i < across; i++) {
      const weight = Math.cos((Math.PI * x * i) / SIDE) * Math.cos((Math.PI * y * j) / SIDE);
      colours[j * across + i].forEach((part, channel) => (sum[channel] += part * weight));
    }
  }
  return [...sum.map(toByte), 255];
}

const toLinear = (byte) => (byte <= 10 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4);

function toByte(linear) {
  const value = Math.min(1, Math.max(0, linear));
  return Math.round((value <= 0.0031308 ? value * 12.92 : 1.055 * value ** (1 / 2.4) - 0.055) * 255);
}
