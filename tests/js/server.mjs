// The server under test, as `tests/run` names it.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const url = process.env.FEIRA_TEST_URL;
export const token = readFileSync(`${process.env.FEIRA_TEST_HOME}/token`, 'utf8').trim();

// Asks the API and expects an answer that is no problem.
export async function ask(path, options = {}) {
  const answer = await fetch(`${url}${path}`, { ...options, headers: { authorization: `Bearer ${token}`, ...options.headers } });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

// A picture of our own: the example that the demo model ships.
export const picturePath = fileURLToPath(new URL('../../cli/demo/upscale/example.png', import.meta.url));
export const picture = readFileSync(picturePath);

// Width and height of a PNG stand at fixed places behind its signature.
export function sizeOf(png) {
  const header = Buffer.from(png);
  return [header.readUInt32BE(16), header.readUInt32BE(20)];
}
