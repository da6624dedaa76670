const LARGEST_PREVIEW = 60_000_000; // bytes; a larger one is shown as a card

/**
 * One file on its way to the server: `uploading`, `ready` (then it has an `attachment`) or `failed` (then an `error`).
 * Fires `change` at each step, `progress` in between.
 */
export class Upload extends EventTarget {
  id = crypto.getRandomValues(new Uint32Array(4)).join('-');
  state = 'uploading';
  fraction = 0;
  error = null;
  attachment = null;
  preview = null; // the address of a picture the browser can show, with `width` and `height`
  width = null;
  height = null;

  #palabre;
  #stop = null;

  constructor(palabre, file) {
    super();
    this.#palabre = palabre;
    this.file = file;
    this.#look();
    this.start();
  }

  get kind() {
    return this.preview ? 'image' : 'file';
  }

  async start() {
    const stop = (this.#stop = new AbortController());
    this.#become('uploading', { fraction: 0, error: null });
    try {
      const onProgress = (fraction) => this.#progress(stop, fraction);
      const attachment = await this.#palabre.upload(this.file, {
        name: this.file.name,
        onProgress,
        signal: stop.signal,
      });
      if (!stop.signal.aborted) this.#become('ready', { attachment, fraction: 1 });
    } catch (error) {
      if (!stop.signal.aborted) this.#become('failed', { error });
    }
  }

  cancel() {
    this.#stop.abort();
  }

  /** Whether it makes sense to try again without anybody asking for it: there was no connection, or no answer. */
  get isStranded() {
    return this.state === 'failed' && Boolean(this.error.retryable);
  }

  /** Its picture is not needed any more. */
  release() {
    if (this.preview) URL.revokeObjectURL(this.preview);
    this.preview = null;
  }

  #progress(stop, fraction) {
    if (stop !== this.#stop) return;
    this.fraction = fraction;
    this.dispatchEvent(new Event('progress'));
  }

  #become(state, fields) {
    Object.assign(this, { state, ...fields });
    this.dispatchEvent(new Event('change'));
  }

  /** Only what the browser can decode gets a picture, whatever its name says. */
  async #look() {
    if (!this.file.type.startsWith('image/') || this.file.size > LARGEST_PREVIEW) return;
    const address = URL.createObjectURL(this.file);
    const image = new Image();
    image.src = address;
    try {
      await image.decode();
      Object.assign(this, { preview: address, width: image.naturalWidth, height: image.naturalHeight });
      this.dispatchEvent(new Event('change'));
    } catch {
      URL.revokeObjectURL(address);
    }
  }
}

/**
 * Messages that wait for their files. Unlike the outbox they cannot outlive the page: a browser keeps no files for it. Each
 * goes to the outbox, under its own id, when its last file has arrived.
 */
export class Departures {
  #palabre;
  #changed;
  #waiting = new Map(); // client_msg_id -> departure
  #previews = new Map(); // attachment id -> upload, so that one's own picture is there at once

  constructor(palabre, changed) {
    this.#palabre = palabre;
    this.#changed = changed;
  }

  /** `uploads` may be at any point; answers nothing, the message appears. */
  add(conversationId, content, uploads) {
    const id = uploads[0].id;
    const departure = { id, conversationId, content, uploads, createdAt: new Date().toISOString() };
    this.#waiting.set(id, departure);
    for (const upload of uploads) upload.addEventListener('change', () => this.#check(departure));
    this.#check(departure);
  }

  of(conversationId) {
    return [...this.#waiting.values()].filter((one) => one.conversationId === conversationId);
  }

  get isEmpty() {
    return this.#waiting.size === 0;
  }

  retry(id) {
    const { uploads = [] } = this.#waiting.get(id) ?? {};
    for (const upload of uploads) if (upload.state === 'failed') upload.start();
  }

  discard(id) {
    const departure = this.#waiting.get(id);
    if (!departure) return;
    this.#waiting.delete(id);
    for (const upload of departure.uploads) {
      upload.cancel();
      upload.release();
    }
    this.#changed(departure.conversationId);
  }

  /** There is a connection again. */
  resume() {
    for (const { uploads } of this.#waiting.values())
      for (const upload of uploads) if (upload.isStranded) upload.start();
  }

  /** The picture this page has of an attachment that it has just sent, or null. */
  previewOf(attachment) {
    return this.#previews.get(attachment.id)?.preview ?? null;
  }

  clear() {
    for (const id of [...this.#waiting.keys()]) this.discard(id);
    for (const upload of this.#previews.values()) upload.release();
    this.#previews.clear();
  }

  #check(departure) {
    const { id, conversationId, content, uploads } = departure;
    if (!this.#waiting.has(id)) return;
    if (uploads.every((upload) => upload.state === 'ready')) {
      this.#waiting.delete(id);
      for (const upload of uploads) this.#previews.set(upload.attachment.id, upload);
      const attachments = uploads.map((upload) => upload.attachment);
      this.#palabre.send(conversationId, content, { client_msg_id: id, attachments });
    }
    this.#changed(conversationId);
  }
}

/** `uploading` until all files are there, `failed` when one will not get there by itself. */
export function stateOf({ uploads }) {
  return uploads.some((upload) => upload.state === 'failed' && !upload.isStranded) ? 'failed' : 'uploading';
}
