// The pages in a real browser: sign in by the printed link, run the demo models from their forms, with scripts and without.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { after, afterEach, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { picture, picturePath, sizeOf, token, url } from './server.mjs';

const SCREENSHOTS = process.env.FEIRA_TEST_SCREENSHOTS;
const RUN_MS_MAX = 120_000;
// Quiet and offline: a test asks nobody but the server under test.
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync',
];

let browser;
// What the console said that it should not have: violations of the content policy, errors of scripts.
let complaints = [];

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.FEIRA_TEST_CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });
  mkdirSync(SCREENSHOTS, { recursive: true });
});
after(() => browser.close());
afterEach(() => {
  assert.deepEqual(complaints, []);
  complaints = [];
});

// A fresh visitor; signed in unless told otherwise.
async function visitor({ scripts = true, signedIn = true, width = 1280 } = {}) {
  const context = await browser.newContext({ javaScriptEnabled: scripts, viewport: { width, height: 900 } });
  const page = await context.newPage();
  page.on('console', (message) => { if (message.type() === 'error') complaints.push(message.text()); });
  page.on('pageerror', (error) => complaints.push(String(error)));
  if (signedIn) await page.goto(`${url}/signin?token=${token}`);
  return page;
}

const shoot = (page, name) => page.screenshot({ path: `${SCREENSHOTS}/${name}.png`, fullPage: true });
const field = (page, name) => page.locator(`[name="input.${name}"]:not([type=range])`);
const press = (page) => page.locator('form[data-run] button.btn').click();
const ended = (page) => page.locator('#run:not([data-live])').waitFor({ timeout: RUN_MS_MAX });
const shown = (page) => page.locator('.result').innerText();

test('the printed link signs in and keeps the token out of the address', async () => {
  const page = await visitor();
  assert.equal(new URL(page.url()).search, '');
  await page.goto(`${url}/dashboard`);
  assert.match(await page.locator('main').innerText(), /feira/);
  await shoot(page, 'dashboard');
  await page.context().close();
});

test('a token that nobody knows is refused in words', async () => {
  const page = await visitor({ signedIn: false });
  await page.goto(`${url}/signin`);
  await page.fill('#token', `fe_${'x'.repeat(40)}`);
  await page.locator('form.form button').click();
  assert.match(await page.locator('[role=alert]').innerText(), /No account knows this token/);
  complaints = complaints.filter((complaint) => !complaint.includes('401'));
  await page.context().close();
});

test('the front shows every demo model, and each has its pages', async () => {
  const page = await visitor({ signedIn: false });
  await page.goto(url);
  await shoot(page, 'front');
  for (const name of ['hello-world', 'smol-chat', 'upscale', 'embed']) {
    await page.goto(`${url}/explore`);
    await page.locator(`a[href="/feira/${name}"]`).first().click();
    assert.match(await page.locator('h1').innerText(), new RegExp(name));
    await shoot(page, name);
    for (const tab of ['api', 'examples', 'readme', 'versions']) {
      const answer = await page.goto(`${url}/feira/${name}/${tab}`);
      assert.equal(answer.status(), 200);
    }
  }
  for (const path of ['/pricing', '/docs', '/docs/api']) assert.equal((await page.goto(url + path)).status(), 200);
  await page.context().close();
});

test('a page that is not there says so', async () => {
  const page = await visitor({ signedIn: false });
  assert.equal((await page.goto(`${url}/feira/nothing`)).status(), 404);
  complaints = complaints.filter((complaint) => !complaint.includes('404'));
  await page.context().close();
});

test('hello-world runs from its form and shows what it cost', async () => {
  const page = await visitor();
  await page.goto(`${url}/feira/hello-world`);
  await field(page, 'name').fill('Ada');
  await press(page);
  await page.waitForURL('**/p/*');
  await ended(page);
  assert.match(await shown(page), /hello Ada/);
  assert.match(await page.locator('#state strong').innerText(), /\$0\.\d+/);
  await shoot(page, 'hello-world-ran');
  await page.context().close();
});

test('the tokens of smol-chat appear while it runs, and its bill is by the token', async () => {
  const page = await visitor();
  await page.goto(`${url}/feira/smol-chat`);
  await field(page, 'prompt').fill('Tell a long story about a market by the sea.');
  await press(page);
  await page.waitForURL('**/p/*');
  const growing = page.locator('#run[data-live] pre[data-text]');
  const lengths = new Set();
  while (lengths.size < 3) {
    const text = await growing.innerText({ timeout: RUN_MS_MAX }).catch(() => null);
    assert.notEqual(text, null, `the run ended when only ${lengths.size} states of its text had been seen`);
    if (text) lengths.add(text.length);
  }
  await shoot(page, 'smol-chat-streams');
  await ended(page);
  assert.match(await page.locator('main').innerText(), /completion tokens/i);
  assert.match(await page.locator('#state strong').innerText(), /\$0\.\d+/);
  await shoot(page, 'smol-chat-ran');
  await page.context().close();
});

test('a file dropped on the form of upscale comes out twice as large', async () => {
  const page = await visitor();
  await page.goto(`${url}/feira/upscale`);
  await page.locator('.drop').scrollIntoViewIfNeeded();
  await drop(page, '.drop', picturePath);
  await page.locator('.drop img').waitFor();
  await press(page);
  await page.waitForURL('**/p/*');
  await ended(page);
  await checkEnlarged(page);
  await shoot(page, 'upscale-ran');
  await page.context().close();
});

// Drops a file as a hand would: the browser itself hands it to what lies below the pointer.
async function drop(page, selector, path) {
  const { x, y, width, height } = await page.locator(selector).boundingBox();
  const devtools = await page.context().newCDPSession(page);
  const data = { items: [], files: [path], dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver', 'drop']) {
    await devtools.send('Input.dispatchDragEvent', { type, x: x + width / 2, y: y + height / 2, data });
  }
}

async function checkEnlarged(page) {
  const source = await page.locator('.result img').getAttribute('src');
  const answer = await page.request.get(new URL(source, url).href);
  const [width, height] = sizeOf(picture);
  assert.deepEqual(sizeOf(await answer.body()), [width * 2, height * 2]);
}

test('without scripts the same forms run by plain POST', async () => {
  const page = await visitor({ scripts: false });
  await page.goto(`${url}/feira/hello-world`);
  await field(page, 'name').fill('plain');
  await press(page);
  await ended(page);
  assert.match(await shown(page), /hello plain/);

  await page.goto(`${url}/feira/upscale`);
  await page.setInputFiles('input[type=file]', { name: 'plain.png', mimeType: 'image/png', buffer: picture });
  await press(page);
  await ended(page);
  await checkEnlarged(page);
  await shoot(page, 'upscale-without-scripts');
  await page.context().close();
});

test('a form with a wrong value comes back with what was typed and what is wrong', async () => {
  const page = await visitor({ scripts: false });
  await page.goto(`${url}/feira/smol-chat`);
  await field(page, 'prompt').fill('x'.repeat(4001));
  await press(page);
  assert.match(await page.locator('[role=alert]').first().innerText(), /another look|4000/);
  assert.equal((await field(page, 'prompt').inputValue()).length, 4001);
  complaints = complaints.filter((complaint) => !complaint.includes('422'));
  await page.context().close();
});

test('a run is stopped from its page', async () => {
  const page = await visitor();
  await page.goto(`${url}/feira/hello-world`);
  await field(page, 'delay_ms').fill('60000');
  await press(page);
  await page.waitForURL('**/p/*');
  await page.locator('form[action$="/cancel"] button').click();
  await ended(page);
  assert.match(await page.locator('#state').innerText(), /canceled/);
  await page.context().close();
});

test('a narrow screen shows everything without scrolling sideways', async () => {
  const page = await visitor({ width: 390 });
  for (const path of ['/', '/feira/smol-chat', '/dashboard', '/docs/api']) {
    await page.goto(url + path);
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wider <= 0, `${path} is ${wider} px wider than the screen`);
  }
  await shoot(page, 'narrow');
  await page.context().close();
});
