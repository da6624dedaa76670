const PEOPLE = 20;

/** What is fetched when somebody wants to see it: the list of conversations, one conversation, its history. */
export class Pages {
  #store;
  #catchUp;
  #connection;
  #http;
  #next = { false: undefined, true: undefined }; // by archived: null after the last page, undefined before the first
  #paging = new Map(); // conversation id -> the running request for history
  #meeting = new Map(); // conversation id -> the running request for an unknown conversation

  constructor({ store, catchUp, connection, http }) {
    this.#store = store;
    this.#catchUp = catchUp;
    this.#connection = connection;
    this.#http = http;
  }

  /** The next page of the list, newest activity first; from the start, the first again without losing the place. */
  async list({ archived, fromStart }) {
    const place = this.#next[archived];
    if (place === null && !fromStart) return;
    const query = { archived, ...(place && !fromStart ? { cursor: place } : {}) };
    const page = await this.#http.rest('GET', 'conversations/', { query });
    for (const object of page.results) this.#store.applyConversation(object);
    if (!fromStart || place === undefined) this.#next[archived] = page.next_cursor ?? null;
  }

  hasMore({ archived }) {
    return this.#next[archived] !== null;
  }

  /** A restored database: every place in a list is void. */
  forget() {
    this.#next = { false: undefined, true: undefined };
  }

  async open(id) {
    if (!this.#store.conversations.get(id)?.info) await this.meet(id);
    const conversation = this.#store.conversation(id);
    if (!conversation.isSeated || conversation.cursor.at === null) this.#catchUp.want(id);
    await this.#catchUp.run();
    if (conversation.from === null) await this.#page(id);
    return conversation;
  }

  async older(id, toSeq) {
    const conversation = this.#store.conversation(id);
    const isFar = toSeq !== undefined;
    const wanted = toSeq ?? conversation.from - 1;
    while (conversation.from !== null && conversation.hasOlder && conversation.from > wanted) {
      const { page_max: most } = this.#store.limits;
      await this.#page(id, { before_seq: conversation.from, ...(isFar && most ? { limit: most } : {}) });
    }
  }

  /** Learn about a conversation from the server; whoever asks meanwhile gets the same answer. */
  meet(id) {
    let asked = this.#meeting.get(id);
    if (!asked) {
      asked = this.#http
        .rest('GET', `conversations/${encodeURIComponent(id)}/`)
        .then((object) => this.#store.applyConversation(object))
        .finally(() => this.#meeting.delete(id));
      asked.catch(() => {}); // whoever needs it hears of the failure, the others do not mind
      this.#meeting.set(id, asked);
    }
    return asked;
  }

  async people(id) {
    const path = `conversations/${encodeURIComponent(id)}/participants/`;
    const everybody = [];
    for (let cursor; cursor !== null;) {
      const page = await this.#http.rest('GET', path, { query: cursor ? { cursor } : {} });
      everybody.push(...page.results);
      cursor = page.next_cursor ?? null;
    }
    this.#store.applyEverybody(id, everybody);
    return everybody;
  }

  async searchPeople(q) {
    const query = q === '' ? { limit: PEOPLE } : { q, limit: PEOPLE };
    const { results } = await this.#http.rest('GET', 'users/', { query });
    for (const user of results) this.#store.applyUser(user);
    return results;
  }

  async searchConversations(q) {
    const { results } = await this.#http.rest('GET', 'conversations/', { query: { q } });
    return results.map((object) => this.#store.applyConversation(object));
  }

  /** Found messages stay outside of the store: a history with holes is none. */
  searchMessages(q, { conversationId, senderId, hasAttachment, ...more }) {
    const fields = { q, conversation_id: conversationId, sender_id: senderId, has_attachment: hasAttachment, ...more };
    const query = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
    return this.#http.rest('GET', 'messages/', { query });
  }

  /** One page of history; without a place to start from, the newest. */
  #page(id, place = {}) {
    let asked = this.#paging.get(id);
    if (!asked) {
      asked = this.#connection
        .insist('message:list', { conversation_id: id, ...place })
        .then((page) => this.#store.applyPage(id, page, place.before_seq))
        .finally(() => this.#paging.delete(id));
      this.#paging.set(id, asked);
    }
    return asked;
  }
}
