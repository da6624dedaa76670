const SVG = 'http://www.w3.org/2000/svg';

/**
 * An element. Properties that exist on it are set, `on…` become listeners, the rest are attributes; null and false are
 * left out. Strings become text, never markup.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'class') element.className = value;
    else if (name in element && typeof value !== 'string') element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** What only those hear who listen to the page. */
export const spoken = (text) => h('span', { class: 'sr-only' }, text);

/**
 * Make the children of `parent` be `rows`, touching only what differs: `{key, signature, build}`. A row whose signature
 * changed is rebuilt inside its element, so that its place, and focus within it, stay.
 */
export function reconcile(parent, rows, known) {
  const wanted = new Set(rows.map((row) => row.key));
  for (const [key, { element }] of known) {
    if (wanted.has(key)) continue;
    element.remove();
    known.delete(key);
  }
  let next = parent.firstChild;
  for (const row of rows) {
    const element = refresh(row, known);
    if (element === next) next = next.nextSibling;
    else parent.insertBefore(element, next);
  }
}

function refresh(row, known) {
  const kept = known.get(row.key);
  if (kept?.signature === row.signature) return kept.element;
  const focused = kept?.element.contains(document.activeElement) ? document.activeElement : null;
  const built = row.build();
  if (!kept) {
    known.set(row.key, { element: built, signature: row.signature });
    return built;
  }
  kept.element.className = built.className;
  kept.element.replaceChildren(...built.childNodes);
  kept.signature = row.signature;
  if (focused) (focused.isConnected ? focused : kept.element.querySelector('button'))?.focus();
  return kept.element;
}

/** Text with its web addresses made into links. */
export function linked(text) {
  const parts = text.split(/(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]}])/);
  return parts.map((part, index) =>
    index % 2 ? h('a', { href: part, target: '_blank', rel: 'noopener noreferrer nofollow' }, part) : part,
  );
}
