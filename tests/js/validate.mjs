// Lets npm's `replicate` judge the signatures of deliveries: [{ headers, body }, …] in, [true, false, …] out.

import { text } from 'node:stream/consumers';

import Replicate, { validateWebhook } from 'replicate';

const replicate = new Replicate({ auth: process.env.FEIRA_TEST_TOKEN, baseUrl: `${process.env.FEIRA_TEST_URL}/v1` });
const { key } = await replicate.webhooks.default.secret.get();

const judged = [];
for (const { headers, body } of JSON.parse(await text(process.stdin))) {
  judged.push(await validateWebhook({
    id: headers['webhook-id'], timestamp: headers['webhook-timestamp'], signature: headers['webhook-signature'], body, secret: key,
  }));
}
console.log(JSON.stringify(judged));
