// What needs a script: a run that moves, sliders that show their number, files that show themselves, copying, and ⌘⏎.
// Every page works without it.

const each = (selector, root, act) => root.querySelectorAll(selector).forEach(act);

function sliders(root) {
  each('.slider', root, (slider) => {
    const [range, number] = slider.querySelectorAll('input');
    if (!number) return;
    range.addEventListener('input', () => { number.value = range.value; });
    number.addEventListener('input', () => { range.value = number.value; });
  });
}

function drops(root) {
  each('.drop', root, (drop) => {
    const input = drop.querySelector('input');
    const words = drop.querySelector('span');
    input.addEventListener('dragenter', () => drop.classList.add('over'));
    for (const over of ['dragleave', 'drop']) input.addEventListener(over, () => drop.classList.remove('over'));
    input.addEventListener('change', () => {
      const file = input.files[0];
      drop.querySelector('img')?.remove();
      if (!file) return;
      words.textContent = `${file.name}, ${Math.max(1, Math.round(file.size / 1000))} kB`;
      if (!file.type.startsWith('image/')) return;
      const picture = new Image();
      picture.alt = '';
      picture.onload = () => URL.revokeObjectURL(picture.src);
      picture.src = URL.createObjectURL(file);
      drop.prepend(picture);
    });
  });
}

async function copy(button, text) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  } catch {
    button.textContent = 'Select and copy';
  }
  setTimeout(() => { button.textContent = before; }, 1600);
}

function forms() {
  each('form[data-run]', document, (form) => {
    form.addEventListener('submit', () => {
      const button = form.querySelector('.btn');
      button.setAttribute('aria-busy', 'true');
      button.textContent = 'Starting…';
    });
  });
  addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || !(event.metaKey || event.ctrlKey)) return;
    const form = event.target.closest?.('form[data-run]') ?? document.querySelector('form[data-run]');
    if (form?.querySelector('button.btn')) form.requestSubmit();
  });
  // A page that comes back from the browser's memory is ready for another run.
  addEventListener('pageshow', () => each('form[data-run] button[aria-busy]', document, (button) => {
    button.removeAttribute('aria-busy');
    button.textContent = 'Run';
  }));
}

// The page as the server would write it now.
async function again() {
  const response = await fetch(location.href);
  if (!response.ok) return null;
  return new DOMParser().parseFromString(await response.text(), 'text/html');
}

function put(selector, from) {
  const [old, fresh] = [document.querySelector(selector), from?.querySelector(selector)];
  if (old && fresh) old.replaceWith(document.adoptNode(fresh));
}

function follow() {
  const run = document.querySelector('#run[data-live]');
  if (!run) return;
  const text = run.querySelector('pre[data-text]');
  const logs = run.querySelector('pre[data-logs]');
  let ended = false;
  let arriving = false;
  let clear = true;

  // The server knows the state, the bill and the waterfall: they are taken from it, whole.
  const settle = async () => {
    const page = await again().catch(() => null);
    if (page?.querySelector('#run:not([data-live])')) {
      ended = true;
      stream?.close();
      put('#run', page);
    } else if (!arriving) {
      put('#state', page);
      put('.waiting', page);
    }
    return ended;
  };
  const look = async (wait) => {
    if (ended || await settle()) return;
    setTimeout(look, wait, Math.min(wait * 1.2, 5000));
  };
  const append = (to, piece) => {
    // The stream tells everything from the start, also what the page already shows.
    if (clear) {
      clear = false;
      for (const shown of [text, logs]) if (shown) shown.textContent = '';
    }
    if (!to) return;
    const low = to.scrollHeight - to.scrollTop - to.clientHeight < 40;
    to.append(piece);
    if (low) to.scrollTop = to.scrollHeight;
  };

  const stream = run.dataset.live ? new EventSource(run.dataset.live) : null;
  stream?.addEventListener('output', (event) => {
    if (!arriving) settle();
    append(text, event.data);
    arriving = true;
  });
  stream?.addEventListener('logs', (event) => append(logs, event.data));
  stream?.addEventListener('done', () => { stream.close(); arriving = false; look(200); });
  look(600);
}

document.addEventListener('click', (event) => {
  const button = event.target.closest?.('.copy');
  if (!button) return;
  if ('copyAddress' in button.dataset) copy(button, location.href);
  else copy(button, button.parentElement.querySelector('pre').textContent);
});

sliders(document);
drops(document);
forms();
follow();
