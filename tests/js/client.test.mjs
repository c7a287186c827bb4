// npm's `replicate` 1.4.0 on every demo model: run, stream, create, get, list, cancel. Only the base address is changed.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import Replicate from 'replicate';

import { ask, picture, sizeOf, token, url } from './server.mjs';

const replicate = new Replicate({ auth: token, baseUrl: `${url}/v1` });

const prompt = { prompt: 'What is the capital of France? Answer in one sentence.', temperature: 0, max_tokens: 32 };
const latest = async (name) => (await replicate.models.get('feira', name)).latest_version.id;

test('hello-world runs, by its latest version and by a pinned one', async () => {
  assert.equal(await replicate.run('feira/hello-world', { input: { name: 'Ada' } }), 'hello Ada');
  assert.equal(await replicate.run(`feira/hello-world:${await latest('hello-world')}`, { input: {} }), 'hello world');
});

test('run may also poll', async () => {
  const output = await replicate.run('feira/hello-world', { input: { name: 'poll' }, wait: { mode: 'poll', interval: 50 } });
  assert.equal(output, 'hello poll');
});

test('smol-chat runs', async () => {
  const output = await replicate.run('feira/smol-chat', { input: prompt });
  assert.match(output.join(''), /Paris/);
});

test('smol-chat streams the same text that get returns', async () => {
  const prediction = await replicate.predictions.create({ model: 'feira/smol-chat', input: prompt });
  const answer = await fetch(prediction.urls.stream, { headers: { accept: 'text/event-stream' } });
  assert.equal(answer.headers.get('content-type'), 'text/event-stream');
  const events = (await answer.text()).split('\n\n').map(read);
  const streamed = events.filter((event) => event.name === 'output').map((event) => event.data).join('');
  const got = await replicate.predictions.get(prediction.id);
  assert.equal(got.status, 'succeeded');
  assert.equal(got.output.join(''), streamed);
});

// One server-sent event.
function read(block) {
  const fields = block.split('\n').map((line) => line.match(/^(\w*): ?(.*)$/) ?? ['', '', '']);
  const all = (name) => fields.filter(([, field]) => field === name).map(([, , value]) => value);
  return { name: all('event')[0], data: all('data').join('\n') };
}

test('smol-chat streams by the short way', async () => {
  let text = '';
  let ended = false;
  for await (const event of replicate.stream('feira/smol-chat', { input: prompt })) {
    if (event.event === 'output') text += event.data;
    ended = event.event === 'done';
  }
  assert.match(text, /Paris/);
  assert.ok(ended);
});

test('upscale takes a buffer and returns a picture of twice the size', async () => {
  const output = await replicate.run('feira/upscale', { input: { image: picture, scale: 2 } });
  const larger = await fetch(String(output.url?.() ?? output));
  const [width, height] = sizeOf(picture);
  assert.deepEqual(sizeOf(await larger.arrayBuffer()), [width * 2, height * 2]);
});

test('embed returns 384 numbers a text', async () => {
  const output = await replicate.run('feira/embed', { input: { text_batch: '["one", "two"]' } });
  assert.deepEqual(output.map((vector) => vector.length), [384, 384]);
});

for (const name of ['hello-world', 'smol-chat', 'upscale', 'embed']) {
  test(`${name} is created, got, waited for and listed`, async () => {
    const inputs = { 'hello-world': {}, 'smol-chat': prompt, upscale: { image: picture }, embed: { text: 'a' } };
    const created = await replicate.predictions.create({ version: await latest(name), input: inputs[name] });
    const ended = await replicate.wait(created, { interval: 50 });
    assert.equal(ended.status, 'succeeded', ended.error);
    // The address of the stream is signed anew each time.
    assert.deepEqual({ ...(await replicate.predictions.get(created.id)), urls: null }, { ...ended, urls: null });
    const { results } = await replicate.predictions.list();
    assert.ok(results.some((listed) => listed.id === created.id));
  });
}

for (const [name, input] of [['hello-world', { delay_ms: 60_000 }], ['smol-chat', { prompt: 'Count to a thousand in words.', max_tokens: 1000 }]]) {
  test(`a prediction of ${name} is cancelled`, async () => {
    const created = await replicate.predictions.create({ model: `feira/${name}`, input });
    await replicate.predictions.cancel(created.id);
    const ended = await replicate.wait(created, { interval: 50 });
    assert.equal(ended.status, 'canceled');
  });
}

test('an abort signal cancels the run', async () => {
  const controller = new AbortController();
  const run = replicate.run('feira/hello-world', {
    input: { delay_ms: 60_000 },
    signal: controller.signal,
    wait: { mode: 'poll', interval: 50 },
  }, (prediction) => { if (prediction.status !== 'canceled') controller.abort(); });
  await run.catch((error) => assert.equal(error.name, 'AbortError'));
  const { results } = await replicate.predictions.list();
  const last = results.find((prediction) => prediction.model === 'feira/hello-world');
  assert.equal((await replicate.wait(last, { interval: 50 })).status, 'canceled');
});

test('lists are walked page by page', async () => {
  const ids = new Set();
  for await (const page of replicate.paginate(replicate.predictions.list)) page.forEach((prediction) => ids.add(prediction.id));
  assert.ok(ids.size >= 4);
});

test('models, versions, account and hardware read as the client expects', async () => {
  const { results } = await replicate.models.list();
  assert.ok(results.some((model) => model.name === 'smol-chat'));
  const versions = await replicate.models.versions.list('feira', 'embed');
  assert.equal(versions.results[0].id, await latest('embed'));
  assert.equal((await replicate.accounts.current()).username, 'feira');
  assert.ok((await replicate.hardware.list()).some((hardware) => hardware.sku === 'cpu'));
});

test('a prompt too long is refused by the before hook, and nothing is charged', async () => {
  const before = await ask('/v1/account/balance');
  await assert.rejects(
    replicate.run('feira/smol-chat', { input: { prompt: 'x'.repeat(4001) } }),
    (error) => error.response.status === 422 && /at most 4000 are taken/.test(error.message),
  );
  assert.equal((await ask('/v1/account/balance')).credit, before.credit);
});

test('a file is uploaded, got and deleted', async () => {
  const file = await replicate.files.create(new Blob(['a note'], { type: 'text/plain' }));
  assert.equal((await replicate.files.get(file.id)).size, 6);
  assert.equal(await replicate.files.delete(file.id), true);
});
