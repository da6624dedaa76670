const STEPS = { ArrowDown: 1, ArrowUp: -1 };

/**
 * One tab stop for many alike controls: arrow keys, Home and End move among those that match `selector`. `preferred()` may
 * name the one that Tab should come to.
 */
export class Roving {
  #container;
  #selector;
  #preferred;
  #current = null;

  constructor(container, selector, preferred = () => null) {
    this.#container = container;
    this.#selector = selector;
    this.#preferred = preferred;
    container.addEventListener('keydown', (event) => this.#onKey(event));
    container.addEventListener('focusin', (event) => this.#onFocus(event));
  }

  /** The controls have changed. */
  refresh() {
    const all = this.#all;
    if (!this.#current?.isConnected) this.#current = null;
    const stop = this.#current ?? this.#preferred() ?? all[0];
    for (const control of all) control.tabIndex = control === stop ? 0 : -1;
  }

  /** Go to the control that Tab would come to. */
  focus() {
    this.#all.find((control) => control.tabIndex === 0)?.focus();
  }

  get #all() {
    return [...this.#container.querySelectorAll(this.#selector)];
  }

  #onFocus({ target }) {
    if (!target.matches(this.#selector)) return;
    this.#current = target;
    this.refresh();
  }

  #onKey(event) {
    const all = this.#all;
    const at = all.indexOf(event.target);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const ends = { Home: all[0], End: all.at(-1) };
    const target = ends[event.key] ?? (event.key in STEPS ? all[at + STEPS[event.key]] : null);
    if (!target) return;
    event.preventDefault();
    target.focus();
  }
}
