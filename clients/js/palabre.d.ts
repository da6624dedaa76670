// The types of palabre.js, written by hand; those of the protocol are generated into events.d.ts.

import type { ManagerOptions, Socket, SocketOptions } from 'socket.io-client';
import type {
  Answer,
  Attachment,
  ClientToServerEvents,
  CreateConversation,
  Message,
  MessageType,
  MembershipRole,
  My,
  Participant,
  Person,
  Presence,
  PresenceSet,
  RoomConversation,
  RoomMessage,
  SearchPage,
  SendMessage,
  SessionReady,
  UpdateConversation,
  User,
} from './events.js';

export type { Attachment, CreateConversation, Message, MembershipRole, My, Participant, Person, Presence };
export type { RoomConversation, RoomMessage, SearchPage, User };

type Requests = keyof ClientToServerEvents;
type DataOf<Name extends Requests> = Parameters<ClientToServerEvents[Name]>[0];
type AnswerTo<Name extends Requests> = Parameters<ClientToServerEvents[Name]>[1] extends (
  answer: Answer<infer Data>,
) => void
  ? Data
  : never;

/** A message as this client has it; `is_read` and `status` are there when it came in an answer. */
export type KnownMessage = RoomMessage & Partial<Pick<Message, 'is_read' | 'status'>>;

/** Where unsent messages survive a restart: `localStorage`, or anything with these methods of it. */
export type OutboxStorage = Pick<Storage, 'length' | 'key' | 'getItem' | 'setItem' | 'removeItem'>;

export interface PalabreOptions {
  /** What `socket.io-client` exports as `io`. Without it, a global `io` is taken. */
  io?: (url: string, options?: Partial<ManagerOptions & SocketOptions>) => Socket;
  /** The origin of the server. Default: the origin of the page. */
  url?: string;
  /** The token to show at the door. May be left out when there is `renewToken`. */
  token?: string | null;
  /**
   * Gives a fresh token of the same person; asked before the old one ends and when one is refused. An empty answer
   * ends the session, a rejection is tried again.
   */
  renewToken?: (() => Promise<string | null | undefined>) | null;
  /** Where unsent messages survive a restart. Default: nowhere. */
  storage?: OutboxStorage | null;
  /** How long to wait for an answer over the socket before asking again, in milliseconds. Default: 10,000. */
  ackTimeout?: number;
}

/** Why something did not work: a refusal of the server, or the absence of an answer. */
export class PalabreError extends Error {
  constructor(error?: {
    code?: string;
    message?: string;
    retryable?: boolean;
    retry_after_ms?: number | null;
    details?: ErrorDetail[];
  });
  name: 'PalabreError';
  /** A code of the protocol: `not_found`, `payload_too_large`, `timeout`, … */
  code: string;
  /** Whether asking the same again may help. */
  retryable: boolean;
  /** How long the server asks to wait before that, in milliseconds. */
  retryAfterMs: number | null;
  /** Which fields were wrong, and why. */
  details: ErrorDetail[];
  /** The token is the problem: nothing else works until there is another one. */
  readonly isAboutToken: boolean;
}

export interface ErrorDetail {
  field: string;
  problem: string;
}

export type Status = 'idle' | 'connecting' | 'online' | 'reconnecting' | 'closed';

/** The `detail` of each event. */
export interface PalabreEvents {
  status: { status: Status; error: PalabreError | null };
  ready: { again: boolean };
  change: { ids: Set<string | null> };
  presence: { ids: Set<string> };
  message: { message: RoomMessage };
  sent: { message: KnownMessage };
  failed: { entry: OutboxEntry };
  removed: { id: string; reason: string };
  expiring: { seconds: number };
  closed: { code: string };
}

type Listener<Name extends keyof PalabreEvents> =
  | ((event: CustomEvent<PalabreEvents[Name]>) => unknown)
  | { handleEvent(event: CustomEvent<PalabreEvents[Name]>): unknown };

/** A message that the server has not stored yet, or refused. A snapshot: ask `pending` for the present one. */
export interface OutboxEntry {
  payload: SendMessage & { content: string };
  /** What the attachments look like, to show them before the message is there. */
  attachments: Attachment[];
  state: 'pending' | 'failed';
  error: { code: string; message: string } | null;
  createdAt: string;
  order: number;
}

export interface SendFields {
  /** What `upload` gave. */
  attachments?: Attachment[];
  metadata?: Record<string, unknown>;
}

export interface UploadOptions {
  /** The name to keep. Default: the name of the File. */
  name?: string;
  /** Told how much has left, from 0 to 1. Outside of browsers: at the beginning and at the end. */
  onProgress?: (fraction: number) => void;
  /** Aborting rejects with the signal's reason, as `fetch` does, and leaves nothing on the server. */
  signal?: AbortSignal;
}

export interface MessageSearch {
  conversationId?: string;
  senderId?: string;
  type?: MessageType;
  hasAttachment?: boolean;
  /** Times with an offset. */
  since?: string;
  until?: string;
  /** `next_cursor` of the page before. */
  cursor?: string;
  limit?: number;
}

/** A conversation as this client knows it. Read it; it is kept true by the client. */
export interface Conversation {
  readonly id: string;
  /** The object of the protocol without `my`, `participants`, `last_message`; null until it was fetched. */
  readonly info: RoomConversation | null;
  readonly my: My | null;
  /** By user id, people of the past included (`is_active: false`). */
  readonly participants: ReadonlyMap<string, Participant>;
  /** By `seq`, tombstones included. */
  readonly messages: ReadonlyMap<number, KnownMessage>;
  /** Who is writing now, by user id. */
  readonly typing: ReadonlyMap<string, { kind: string }>;
  readonly lastSeq: number;
  /** Everything from this `seq` to the newest is in `messages`; null: no history was asked for yet. */
  readonly from: number | null;
  /** There is history before `from`. */
  readonly hasOlder: boolean;
  readonly isMember: boolean;
  /** It was fetched and this person is in. */
  readonly isKnown: boolean;
  readonly isArchived: boolean;
  readonly isMuted: boolean;
  readonly canWrite: boolean;
  readonly lastMessage: KnownMessage | null;
  readonly activityAt: string;
  /** Other people's messages after the read cursor. */
  readonly unread: number;
  /** The people present without this person. */
  readonly others: Participant[];
  readonly peopleCount: number;
  /** The history that is there, oldest first, without a hole, without messages this person has hidden. */
  history(hidden?: ReadonlySet<string>): KnownMessage[];
  /** Of a message of this person. */
  status(message: KnownMessage): 'sent' | 'delivered' | 'read';
  /** The ids of the others who have read up to this message. */
  readersOf(message: KnownMessage): string[];
}

/** Everything the client knows. Read it; it is kept true by the client. */
export interface Store {
  readonly me: User | null;
  readonly epoch: string | null;
  /** The server's limits by name, empty before the first connection. */
  readonly limits: Partial<SessionReady['limits']>;
  readonly features: string[];
  readonly users: ReadonlyMap<string, User | Person>;
  readonly conversations: ReadonlyMap<string, Conversation>;
  /** The ids of the messages that this person has deleted for themselves. */
  readonly hidden: ReadonlySet<string>;
  /** The known conversations that are not archived: pinned on top, newest activity first. */
  list(): Conversation[];
  /** The known ones that are archived, newest activity first. */
  archived(): Conversation[];
  user(id: string | null | undefined): User | Person | null;
  /** The record of a conversation; an empty one on the first mention. */
  conversation(id: string): Conversation;
}

/** A client of a Palabre server: one connection, the state it keeps true, and the verbs of the protocol. */
export class Palabre extends EventTarget {
  constructor(options: PalabreOptions);

  addEventListener<Name extends keyof PalabreEvents>(
    type: Name,
    listener: Listener<Name> | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Name extends keyof PalabreEvents>(
    type: Name,
    listener: Listener<Name> | null,
    options?: boolean | EventListenerOptions,
  ): void;

  readonly store: Store;

  // Connection

  readonly status: Status;
  readonly isOnline: boolean;
  readonly me: User | null;
  /** Connect, with another token if one is given; while reconnecting: try now instead of later. */
  connect(token?: string): void;
  disconnect(): void;
  /** Sign out: disconnect, and leave nothing of this person on the device, unsent messages included. */
  forget(): void;
  /** The present time by the server's clock, in milliseconds. */
  now(): number;
  /** Ask over the socket; answers `data`. */
  request<Name extends Requests>(event: Name, payload: DataOf<Name>): Promise<AnswerTo<Name>>;
  /** Ask over HTTP, `path` below `/api/messaging/`; answers the body. */
  rest<Body = any>(
    method: string,
    path: string,
    options?: { query?: Record<string, string | number | boolean>; body?: unknown; signal?: AbortSignal },
  ): Promise<Body>;

  // Reading

  /** The known conversations: pinned on top, newest activity first. */
  readonly conversations: Conversation[];
  readonly hasMoreConversations: boolean;
  readonly hasMoreArchived: boolean;
  readonly unreadTotal: number;
  /** Fetch the next page of conversations. */
  list(options?: { fromStart?: boolean }): Promise<void>;
  /** Fetch the next page of archived conversations. */
  listArchived(options?: { fromStart?: boolean }): Promise<void>;
  /** Make sure a conversation is known, heard live, and that its newest page is there. */
  open(id: string): Promise<Conversation>;
  /** Fetch the page before what is known; with `toSeq`, as many pages as it takes to reach that message. */
  older(id: string, options?: { toSeq?: number }): Promise<void>;
  /** The history that is there, oldest first, without a hole. */
  messages(id: string): KnownMessage[];
  /** What the server has not stored yet, in the order it was written. */
  pending(id: string): OutboxEntry[];
  /** People one may write to, by a part of their name. */
  searchPeople(q?: string): Promise<User[]>;
  /** Conversations by a part of their title or of a member's name. */
  searchConversations(q: string): Promise<Conversation[]>;
  /** Messages of all conversations, or of one, newest first. */
  searchMessages(q: string, options?: MessageSearch): Promise<SearchPage>;
  /** Fetch everybody of a conversation (a Conversation object names at most 50). */
  loadPeople(id: string): Promise<Participant[]>;

  // Writing

  /** Answers at once: the message waits in the outbox until the server has stored it, however long that takes. */
  send(conversationId: string, content: string, fields?: SendFields): OutboxEntry;
  /** Try a refused message again. */
  retry(clientMsgId: string): void;
  /** Give up a message that is not stored yet. */
  discard(clientMsgId: string): void;
  edit(message: KnownMessage, content: string): Promise<void>;
  /** Delete for everybody; a tombstone stays. */
  remove(message: KnownMessage): Promise<void>;
  /** Delete for this person only. */
  hide(message: KnownMessage): Promise<void>;
  /** This person has everything up to this message before their eyes. */
  read(conversationId: string, upToSeq: number): void;
  /** This person is writing, or has stopped. */
  typing(conversationId: string, isTyping: boolean): void;

  // Presence

  /**
   * Know how these people are from now on. Name whoever is shown, as often as you like; beyond what the server allows,
   * those who were named longest ago are let go.
   */
  follow(userIds: Iterable<string>): void;
  /** How somebody is who is followed, or oneself; null while nothing is known. */
  presenceOf(userId: string): Presence | null;
  /** `active` or `away` on this device; `invisible` on all, until one of them says `active`. */
  setStatus(status: PresenceSet['status']): Promise<PresenceSet['status']>;
  /** The person touches this device: call it as often as you like, it says `active` when it was away. */
  stir(): void;

  // Files

  /** Bring a file to the server; give what comes back to `send`. */
  upload(file: Blob, options?: UploadOptions): Promise<Attachment>;
  /**
   * An address that an `<img>` or a link can use for some minutes, of a thumbnail (320 or 960 pixels at the longer
   * side) or of the original. Ask each time it is used: answers are kept until shortly before they end.
   */
  fileUrl(attachment: Attachment, size?: 320 | 960): Promise<string>;

  // Conversations

  /** The conversation that exists already for these people or this key is the answer, too. */
  create(fields: CreateConversation): Promise<Conversation>;
  createDirect(userId: string): Promise<Conversation>;
  createGroup(title: string, userIds: string[]): Promise<Conversation>;
  update(id: string, fields: Omit<UpdateConversation, 'conversation_id'>): Promise<void>;
  rename(id: string, title: string): Promise<void>;
  leave(id: string): Promise<void>;
  addPeople(id: string, userIds: string[]): Promise<void>;
  removePerson(id: string, userId: string): Promise<void>;
  setRole(id: string, userId: string, role: MembershipRole): Promise<void>;
  /** For this person only, as the next three. */
  archive(id: string, on: boolean): Promise<void>;
  /** Until a time with an offset; null ends it. */
  mute(id: string, until: string | null): Promise<void>;
  pinConversation(id: string, on: boolean): Promise<void>;
  markUnread(id: string, on: boolean): Promise<void>;
}
