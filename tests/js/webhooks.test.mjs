// npm's `replicate` 1.4.0 judges what a receiver of webhooks is sent.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';

import Replicate, { validateWebhook } from 'replicate';

import { token, url } from './server.mjs';

const replicate = new Replicate({ auth: token, baseUrl: `${url}/v1` });

// Resolves with the first request that comes.
function receive() {
  let told;
  const call = new Promise((resolve) => { told = resolve; });
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    response.end();
    told({ headers: request.headers, body });
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => {
    resolve({ call, address: `http://127.0.0.1:${server.address().port}/hook`, close: () => server.close() });
  }));
}

test('a webhook is accepted as it came and refused when its body was changed', async () => {
  const { call, address, close } = await receive();
  const created = await replicate.predictions.create({
    model: 'feira/hello-world', input: { name: 'Ada' }, webhook: address, webhook_events_filter: ['completed'],
  });
  const { headers, body } = await call;
  close();
  const { key: secret } = await replicate.webhooks.default.secret.get();
  const message = { id: headers['webhook-id'], timestamp: headers['webhook-timestamp'], signature: headers['webhook-signature'], secret };
  assert.equal(await validateWebhook({ ...message, body }), true);
  assert.equal(await validateWebhook({ ...message, body: `${body} ` }), false);
  assert.equal(JSON.parse(body).id, created.id);
});
