// Streams a model that yields files through npm's `replicate`, and says what it made of each.

import { text } from 'node:stream/consumers';

import Replicate from 'replicate';

const { version, count } = JSON.parse(await text(process.stdin));
const replicate = new Replicate({ auth: process.env.FEIRA_TEST_TOKEN, baseUrl: `${process.env.FEIRA_TEST_URL}/v1` });

const seen = [];
for await (const { event, data } of replicate.stream(version, { input: { count } })) {
  if (event === 'output') seen.push(`${data.constructor.name} ${await (await data.blob()).text()}`);
}
console.log(JSON.stringify(seen));
