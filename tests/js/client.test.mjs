// npm's `replicate` 1.4.0: every demo model, and every part of the API that it knows. Only the base address is changed.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import Replicate, { validateWebhook } from 'replicate';

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
    assert.deepEqual(await replicate.predictions.get(created.id), ended);
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

// Publishes a project of the tests and says which version it is.
function push(project, model) {
  const folder = fileURLToPath(new URL(`../projects/${project}`, import.meta.url));
  const environment = { ...process.env, FEIRA_HOST: url, FEIRA_API_TOKEN: token };
  return JSON.parse(execFileSync(process.env.FEIRA_BIN, ['push', '--json', folder, model], { env: environment })).id;
}

test('a file goes in by upload and as a data URI', async () => {
  const version = push('digest', 'feira/digest-for-js');
  const content = Buffer.alloc(100_000, 'feira');
  const expected = `100000 ${createHash('sha256').update(content).digest('hex')}`;
  // The URI is written by hand: with `data-uri` as its strategy, 1.4.0 encodes the client instead of the input.
  for (const file of [content, `data:text/plain;base64,${content.toString('base64')}`]) {
    assert.equal(await replicate.run(`feira/digest-for-js:${version}`, { input: { file } }), expected);
  }
});

test('files are listed with what they were given', async () => {
  const file = await replicate.files.create(Buffer.from('listed'), { purpose: 'test' });
  const { results } = await replicate.files.list();
  assert.deepEqual(results.find((listed) => listed.id === file.id).metadata, { purpose: 'test' });
});

test('models are created and searched, collections read', async () => {
  const made = await replicate.models.create('feira', 'made-by-js', { visibility: 'private', hardware: 'cpu' });
  assert.equal(made.latest_version, null);
  const { results } = await replicate.models.search('hello');
  assert.ok(results.some((model) => model.name === 'hello-world'));
  assert.ok(Array.isArray((await replicate.collections.list()).results));
});

test('a deployment is created, updated, listed and asked', async () => {
  const settings = { name: 'js', model: 'feira/hello-world', version: await latest('hello-world'), hardware: 'cpu', min_instances: 0, max_instances: 1 };
  assert.equal((await replicate.deployments.create(settings)).current_release.number, 1);
  assert.equal((await replicate.deployments.update('feira', 'js', { max_instances: 2 })).current_release.number, 2);
  assert.equal((await replicate.deployments.get('feira', 'js')).current_release.configuration.max_instances, 2);
  assert.ok((await replicate.deployments.list()).results.some((deployment) => deployment.name === 'js'));
  const created = await replicate.deployments.predictions.create('feira', 'js', { input: { name: 'deployed' }, wait: 10 });
  assert.equal((await replicate.wait(created, { interval: 50 })).output, 'hello deployed');
});

test('a training is created, got, listed and ends in a version; another is cancelled', async () => {
  const version = push('trains', 'feira/trains-for-js');
  await replicate.models.create('feira', 'trained-by-js', { visibility: 'private', hardware: 'cpu' });
  const train = (input) => replicate.trainings.create('feira', 'trains-for-js', version, { destination: 'feira/trained-by-js', input });
  const training = await train({ greeting: 'hej' });
  assert.ok((await replicate.trainings.list()).results.some((listed) => listed.id === training.id));
  // Its id is known on the route of predictions, too, which is what `wait` asks.
  await replicate.wait(training, { interval: 50 });
  const ended = await replicate.trainings.get(training.id);
  assert.equal(ended.status, 'succeeded', ended.error);
  assert.equal(await replicate.run(ended.output.version, { input: { name: 'Ada' } }), 'hej Ada');
  const long = await train({ seconds: 600 });
  assert.equal((await replicate.trainings.cancel(long.id)).status, 'canceled');
});

test('the secret signs as the client validates', async () => {
  const { key } = await replicate.webhooks.default.secret.get();
  const timestamp = String(Math.floor(Date.now() / 1000));
  const digest = createHmac('sha256', Buffer.from(key.replace('whsec_', ''), 'base64')).update(`msg_1.${timestamp}.{}`).digest('base64');
  const delivery = { id: 'msg_1', timestamp, signature: `v1,${digest}`, body: '{}', secret: key };
  assert.equal(await validateWebhook(delivery), true);
  assert.equal(await validateWebhook({ ...delivery, body: '{ }' }), false);
});

test('J2 a program works with one changed address', async () => {
  assert.equal(await replicate.run('feira/hello-world', { input: { name: 'Ada' } }), 'hello Ada');
  let text = '';
  for await (const { event, data } of replicate.stream('feira/smol-chat', { input: prompt })) if (event === 'output') text += data;
  assert.match(text, /Paris/);
  const made = new Set();
  for (let count = 0; count < 101; count += 1) made.add((await replicate.predictions.create({ model: 'feira/hello-world', input: {} })).id);
  const seen = [];
  for await (const page of replicate.paginate(replicate.predictions.list)) seen.push(...page.map(({ id }) => id));
  assert.ok([...made].every((id) => seen.includes(id)));
  assert.equal(new Set(seen).size, seen.length);
  const { key } = await replicate.webhooks.default.secret.get();
  assert.match(key, /^whsec_[A-Za-z0-9+/]+=*$/);
});
