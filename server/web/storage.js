/** Takes the place of a storage that the browser refuses; lives as long as the page. */
class Passing {
  #items = new Map();

  get length() {
    return this.#items.size;
  }

  key(index) {
    return [...this.#items.keys()][index] ?? null;
  }

  getItem(name) {
    return this.#items.get(name) ?? null;
  }

  setItem(name, value) {
    this.#items.set(name, String(value));
  }

  removeItem(name) {
    this.#items.delete(name);
  }
}

export const forTab = available('sessionStorage');
export const forDevice = available('localStorage');

/** A page embedded by another site, or in a private window, may find its storage throwing as soon as it is touched. */
function available(name) {
  try {
    const storage = window[name];
    storage.getItem('palabre');
    return storage;
  } catch {
    return new Passing();
  }
}
