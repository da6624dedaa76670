// What travels between a client and a Palabre server. Written by docs/generate_types.py.
//
//   const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io(url, { auth });
//
// A newer server may add fields, words and events: ignore what you do not know.

/** People to add to a conversation. */
export interface AddParticipants {
  conversation_id: string;
  user_ids: string[];
}

/** Put a conversation away, or back, for the caller only. */
export interface Archive {
  conversation_id: string;
  archived?: boolean;
}

/** A file or an image of a message; its address is stable and needs a token. */
export interface Attachment {
  id: string;
  kind: AttachmentKind;
  name: string;
  content_type: string;
  size: number;
  width: number | null;
  height: number | null;
  blurhash: string | null;
  state: 'pending' | 'ready' | 'blocked';
  url: string;
  thumbnails: Thumbnail[];
  sha256: string;
}

/** What a file is: an `image` was decoded, re-encoded and has thumbnails. */
export type AttachmentKind = 'image' | 'file';

/** The token ends in so many seconds: send `auth:refresh`. */
export interface AuthExpiring {
  in_s: number;
}

/** A fresh token for the person who is connected. */
export interface AuthRefresh {
  token: string;
}

/** A conversation as the caller sees it; `my` is null for role `service`. */
export interface Conversation {
  id: string;
  type: ConversationType;
  title: string | null;
  avatar_url: string | null;
  client: string | null;
  property: string | null;
  external_id: string | null;
  metadata: Record<string, unknown>;
  is_active: boolean;
  participants_count: number;
  last_seq: number;
  event_seq: number;
  head: number;
  purged_seq: number;
  created_by: string;
  created_at: string;
  updated_at: string;
  participants: Participant[];
  last_message: Message | null;
  my: My | null;
}

/** You are in this conversation. */
export interface ConversationAdded {
  /** The number of this change in the person's own list. */
  user_seq: number;
  /** The number before it on the wire; above your cursor: something is missing, ask `sync`. */
  prev_user_seq: number;
  conversation: Conversation;
  /** As of which number of the conversation; the higher of this and the removal's holds. */
  event_seq: number;
}

/** One conversation. */
export interface ConversationAnswer {
  conversation: Conversation;
}

/** The conversation, and whether it is new. */
export interface ConversationCreated {
  conversation: Conversation;
  created: boolean;
}

/** A page of the caller's conversations. */
export interface ConversationPage {
  results: Conversation[];
  next_cursor: string | null;
  next?: string | null;
}

/** You are no longer in this conversation. */
export interface ConversationRemoved {
  /** The number of this change in the person's own list. */
  user_seq: number;
  /** The number before it on the wire; above your cursor: something is missing, ask `sync`. */
  prev_user_seq: number;
  conversation_id: string;
  /** As of which number of the conversation; the higher of this and the addition's holds. */
  event_seq: number;
  reason: 'left' | 'removed';
}

/** Something was said in a conversation of yours that this connection does not hear. */
export interface ConversationStirred {
  conversation_id: string;
  last_seq: number;
  /** The conversation's head. */
  event_seq: number;
  /** Null when the last message was deleted, or hidden by you. */
  preview: Preview | null;
}

/** Who talks to whom. */
export type ConversationType = 'direct' | 'group' | 'client_agent' | 'agent_agent';

/** Title, picture, data or state of the conversation changed. */
export interface ConversationUpdated {
  conversation_id: string;
  /** The number of this change in its conversation. */
  event_seq: number;
  /** The number before it on the wire; above your cursor: something is missing, ask `sync`. */
  prev_event_seq: number;
  /** Who did it. */
  actor_id: string;
  conversation: RoomConversation;
}

/** A new conversation, or the one that already stands for these people or this key. */
export interface CreateConversation {
  type: ConversationType;
  participant_ids: string[];
  title?: string | null;
  avatar_url?: string | null;
  client?: string | null;
  property?: string | null;
  external_id?: string | null;
  metadata?: Record<string, unknown>;
  initial_message?: InitialMessage | null;
}

/** A message to take away, for everyone or only for the caller. */
export interface DeleteMessage {
  message_id: string;
  scope?: DeleteScope;
}

/** For whom a message disappears. */
export type DeleteScope = 'everyone' | 'me';

/** How many of the items were the caller's to report. */
export interface DeliveredAnswer {
  accepted: number;
}

/** One conversation's delivered cursor. */
export interface DeliveredItem {
  conversation_id: string;
  up_to_seq: number;
}

/** A person's devices have everything up to here. */
export interface DeliveredReceipt {
  conversation_id: string;
  user_id: string;
  /** Everything up to this `seq`; never back. */
  up_to_seq: number;
  at: string;
}

/** New text for one's own message. */
export interface EditMessage {
  message_id: string;
  content: string;
  base_version?: number | null;
}

/** The shape of every error. */
export interface ErrorAnswer {
  error: ErrorBody;
}

/** Why a request was refused. */
export interface ErrorBody {
  code: string;
  message: string;
  retryable: boolean;
  retry_after_ms?: number | null;
  details?: (Record<string, unknown>)[] | null;
}

/** One conversation, as the caller sees it. */
export interface GetConversation {
  conversation_id: string;
}

/** The caller. */
export interface GetMe {
}

/** One message: itself, who read it, or its earlier versions. */
export interface GetMessage {
  message_id: string;
}

/** The `auth` of a connection: who comes, and what they have already. */
export interface Handshake {
  /** A JSON Web Token, a fresh one at every attempt; or `Authorization: Bearer` instead. */
  token?: string | null;
  protocol?: number;
  /** The event_seq up to which the client has each conversation; null: begin at its head. */
  cursors?: Record<string, number | null> | null;
  /** The same for the person's own list; 0 on a new device. */
  user_seq?: number | null;
  /** The one that cursors and user_seq belong to. */
  epoch?: string | null;
}

/** A page of history, oldest first. */
export interface History {
  messages: Message[];
  has_more_before: boolean;
  has_more_after: boolean;
  last_seq: number;
  event_seq: number;
  receipts: Receipt[];
  users: User[];
}

/** A page of history by REST, oldest first. */
export interface HistoryPage {
  results: Message[];
  has_more_before: boolean;
  has_more_after: boolean;
  last_seq: number;
  event_seq: number;
  receipts: Receipt[];
  users: User[];
}

/** The first message of a conversation, sent with its creation. */
export interface InitialMessage {
  content: string;
  client_msg_id?: string | null;
  metadata?: Record<string, unknown>;
}

/** The caller goes. */
export interface LeaveConversation {
  conversation_id: string;
}

/** The caller's conversations, newest activity first, pinned on top. */
export interface ListConversations {
  cursor?: string | null;
  limit?: number;
  archived?: boolean;
  type?: ConversationType | null;
  client?: string | null;
  property?: string | null;
  unread?: boolean | null;
  q?: string | null;
}

/** A page of history; without a position, the newest one. */
export interface ListMessages {
  conversation_id: string;
  before_seq?: number | null;
  after_seq?: number | null;
  around_seq?: number | null;
  limit?: number | null;
}

/** The people of a conversation, in the order in which they joined. */
export interface ListParticipants {
  conversation_id: string;
  cursor?: string | null;
  limit?: number;
}

/** People the caller may find. */
export interface ListUsers {
  q?: string | null;
  limit?: number;
}

/** Read up to a message, or up to the last one. */
export interface MarkConversationRead {
  conversation_id: string;
  up_to_seq?: number | null;
}

/** Read up to this message. */
export interface MarkMessageRead {
  message_id: string;
}

/** One change of the caller's personal list. */
export interface Membership {
  conversation?: Conversation | null;
  conversation_id?: string | null;
  is_active: boolean;
  my: My | null;
}

/** What a person may do in one conversation. */
export type MembershipRole = 'owner' | 'admin' | 'member' | 'read_only';

/** A message in an answer: with what differs by viewer. */
export interface Message {
  id: string;
  conversation_id: string;
  seq: number;
  event_seq: number;
  client_msg_id: string | null;
  sender: Person;
  type: MessageType;
  content: string;
  attachments: Attachment[];
  reply_to: ReplyTo | null;
  mentions: string[];
  reactions: Reaction[];
  metadata: Record<string, unknown>;
  system: System | null;
  is_pinned: boolean;
  is_edited: boolean;
  edited_at: string | null;
  version: number;
  is_deleted: boolean;
  deleted_at: string | null;
  created_at: string;
  is_read?: boolean | null;
  status?: 'sent' | 'delivered' | 'read' | null;
}

/** The message as it is now. */
export interface MessageAnswer {
  message: Message;
}

/** There is a new message. */
export interface MessageCreated {
  conversation_id: string;
  /** The number of this change in its conversation. */
  event_seq: number;
  /** The number before it on the wire; above your cursor: something is missing, ask `sync`. */
  prev_event_seq: number;
  /** Who did it. */
  actor_id: string;
  message: RoomMessage;
}

/** Only a tombstone is left of a message. */
export interface MessageDeleted {
  conversation_id: string;
  /** The number of this change in its conversation. */
  event_seq: number;
  /** The number before it on the wire; above your cursor: something is missing, ask `sync`. */
  prev_event_seq: number;
  /** Who did it. */
  actor_id: string;
  message: RoomMessage;
}

/** The caller's cursor in the conversation of that message. */
export interface MessageReadAnswer {
  conversation_id: string;
  read_seq: number;
  unread_count: number;
}

/** The message, and whether it had been stored before. */
export interface MessageSent {
  message: Message;
  duplicate: boolean;
}

/** What a message is; `system` messages come from the server or the embedding backend. */
export type MessageType = 'text' | 'image' | 'file' | 'system';

/** A message was edited. */
export interface MessageUpdated {
  conversation_id: string;
  /** The number of this change in its conversation. */
  event_seq: number;
  /** The number before it on the wire; above your cursor: something is missing, ask `sync`. */
  prev_event_seq: number;
  /** Who did it. */
  actor_id: string;
  message: RoomMessage;
}

/** You deleted these messages for yourself. */
export interface MessagesHidden {
  /** The number of this change in the person's own list. */
  user_seq: number;
  /** The number before it on the wire; above your cursor: something is missing, ask `sync`. */
  prev_user_seq: number;
  conversation_id: string;
  message_ids: string[];
}

/** What only the caller sees of a conversation. */
export interface My {
  role: MembershipRole;
  joined_at: string;
  read_seq: number;
  delivered_seq: number;
  unread_count: number;
  is_archived: boolean;
  archived_seq: number | null;
  is_pinned: boolean;
  muted_until: string | null;
  marked_unread: boolean;
  draft: string | null;
  user_seq: number;
}

/** What only the caller sees of the conversation. */
export interface MyAnswer {
  my: My;
}

/** You archived, pinned, muted or marked a conversation. */
export interface MyUpdated {
  /** The number of this change in the person's own list. */
  user_seq: number;
  /** The number before it on the wire; above your cursor: something is missing, ask `sync`. */
  prev_user_seq: number;
  conversation_id: string;
  my: My;
}

/** Done; there is nothing to say. */
export interface Nothing {
}

/** How a person says they are: `active` or `away` on this device, `invisible` on all. */
export type OwnStatus = 'active' | 'away' | 'invisible';

/** A person's membership; it stays as a row when the person has left. */
export interface Participant {
  user: User;
  role: MembershipRole;
  event_seq: number;
  is_active: boolean;
  joined_at: string;
  left_at: string | null;
  read_seq: number;
  delivered_seq: number;
}

/** Somebody joined. */
export interface ParticipantAdded {
  conversation_id: string;
  /** The number of this change in its conversation. */
  event_seq: number;
  /** The number before it on the wire; above your cursor: something is missing, ask `sync`. */
  prev_event_seq: number;
  /** Who did it. */
  actor_id: string;
  participant: Participant;
}

/** A page of members. */
export interface ParticipantPage {
  results: Participant[];
  next_cursor: string | null;
  next?: string | null;
}

/** Somebody left or was removed; the last that this person hears of the conversation. */
export interface ParticipantRemoved {
  conversation_id: string;
  /** The number of this change in its conversation. */
  event_seq: number;
  /** The number before it on the wire; above your cursor: something is missing, ask `sync`. */
  prev_event_seq: number;
  /** Who did it. */
  actor_id: string;
  participant: Participant;
  reason: 'left' | 'removed';
}

/** Somebody has another role. */
export interface ParticipantUpdated {
  conversation_id: string;
  /** The number of this change in its conversation. */
  event_seq: number;
  /** The number before it on the wire; above your cursor: something is missing, ask `sync`. */
  prev_event_seq: number;
  /** Who did it. */
  actor_id: string;
  participant: Participant;
}

/** The members whom the request changed. */
export interface ParticipantsAnswer {
  participants: Participant[];
}

/** A person, as shown beside a message. */
export interface Person {
  id: string;
  name: string;
  avatar_url: string | null;
  role: UserRole | null;
}

/** How one person is; `last_active_at` is null while active, and when nothing is known. */
export interface Presence {
  user_id: string;
  status: PresenceStatus;
  last_active_at: string | null;
}

/** Somebody to whom this connection subscribed came, went, or is away. */
export interface PresenceChanged {
  user_id: string;
  status: PresenceStatus;
  /** Null while they are active, and when nothing is known. */
  last_active_at: string | null;
}

/** How the caller is. */
export interface PresenceSet {
  status: OwnStatus;
}

/** How a person is; only they themselves see that they are `invisible`. */
export type PresenceStatus = 'active' | 'away' | 'offline' | 'invisible';

/** People whose presence the caller's connection wants to hear of. */
export interface PresenceSubscribe {
  user_ids: string[];
}

/** People whose presence the caller's connection has heard enough of. */
export interface PresenceUnsubscribe {
  user_ids: string[];
}

/** How people are, in the order in which they were named. */
export interface Presences {
  presence: Presence[];
}

/** The last message of a conversation in a line; the excerpt of files alone is empty. */
export interface Preview {
  seq: number;
  sender: Person;
  type: MessageType;
  excerpt: string;
  created_at: string;
}

/** A profile, written by the embedding backend. */
export interface PutUser {
  user_id: string;
  name?: string | null;
  avatar_url?: string | null;
  role?: UserRole | null;
  metadata?: Record<string, unknown>;
}

/** One emoji under a message. */
export interface Reaction {
  emoji: string;
}

/** The caller's cursor and counters after reading. */
export interface ReadAnswer {
  read_seq: number;
  unread_count: number;
  unread_total: number;
}

/** Who has read a message. */
export interface ReadBy {
  results: User[];
}

/** A person has read everything up to here. */
export interface ReadReceipt {
  conversation_id: string;
  user_id: string;
  /** Everything up to this `seq`; never back. */
  up_to_seq: number;
  at: string;
}

/** How far one person has received and read a conversation. */
export interface Receipt {
  user_id: string;
  read_seq: number;
  delivered_seq: number;
}

/** The caller's device has received everything up to here, in several conversations. */
export interface ReceiptDelivered {
  items: DeliveredItem[];
}

/** The caller has seen everything up to here. */
export interface ReceiptRead {
  conversation_id: string;
  up_to_seq: number;
}

/** A person to remove; one's own id leaves the conversation. */
export interface RemoveParticipant {
  conversation_id: string;
  user_id: string;
}

/** The message that this one answers. */
export interface ReplyTo {
  id: string;
}

/** A request that asked for no acknowledgement was refused. */
export interface RequestFailed {
  /** The name of the request. */
  event: string;
  error: ErrorBody;
}

/** A conversation with the bytes that everybody in the room gets. */
export interface RoomConversation {
  id: string;
  type: ConversationType;
  title: string | null;
  avatar_url: string | null;
  client: string | null;
  property: string | null;
  external_id: string | null;
  metadata: Record<string, unknown>;
  is_active: boolean;
  participants_count: number;
  last_seq: number;
  event_seq: number;
  head: number;
  purged_seq: number;
  created_by: string;
  created_at: string;
  updated_at: string;
}

/** A message with the bytes that everybody in the room gets. */
export interface RoomMessage {
  id: string;
  conversation_id: string;
  seq: number;
  event_seq: number;
  client_msg_id: string | null;
  sender: Person;
  type: MessageType;
  content: string;
  attachments: Attachment[];
  reply_to: ReplyTo | null;
  mentions: string[];
  reactions: Reaction[];
  metadata: Record<string, unknown>;
  system: System | null;
  is_pinned: boolean;
  is_edited: boolean;
  edited_at: string | null;
  version: number;
  is_deleted: boolean;
  deleted_at: string | null;
  created_at: string;
}

/** Messages of all conversations the caller may read, newest first. */
export interface SearchMessages {
  conversation_id?: string | null;
  q?: string | null;
  sender_id?: string | null;
  type?: MessageType | null;
  has_attachment?: boolean | null;
  since?: string | null;
  until?: string | null;
  cursor?: string | null;
  limit?: number | null;
}

/** A page of found messages; `truncated`: older messages were not looked at. */
export interface SearchPage {
  results: Message[];
  next_cursor: string | null;
  next?: string | null;
  truncated: boolean;
}

/** A message; `client_msg_id` makes asking again safe for ever. */
export interface SendMessage {
  conversation_id: string;
  client_msg_id: string;
  /** Without it: text, or image or file, as the attachments are. */
  type?: MessageType | null;
  /** Files that the caller uploaded and has not sent yet. */
  attachment_ids?: string[];
  /** Empty only beside attachments. */
  content?: string;
  metadata?: Record<string, unknown>;
}

/** This server stops: come back then, to whoever serves; each client is told another moment. */
export interface ServerDraining {
  reconnect_in_ms: number;
}

/** The server ends this connection, and why. */
export interface SessionClosed {
  code: string;
  /** Whether to come back at once, with a fresh token if that was the reason. */
  reconnect: boolean;
}

/** You are in: the first event of every connection, and nothing after it is missed. */
export interface SessionReady {
  session_id: string;
  user: User;
  /** One life of the database; another one: drop what you stored. */
  epoch: string;
  server_time: string;
  token_expires_at: string;
  protocol: number;
  features: string[];
  /** Every number of `[limits]` as this server is set. */
  limits: {
    /** The characters of a message's text. */
    message_chars: number;
    /** The bytes of a message's metadata as JSON. */
    message_metadata_bytes: number;
    /** The bytes of a conversation's metadata as JSON. */
    conversation_metadata_bytes: number;
    /** The bytes of one request on a socket; a connection that sends more is cut. */
    event_bytes: number;
    /** The bytes of one file. */
    attachment_bytes: number;
    /** The files of one message; 0 takes none. */
    attachments_per_message: number;
    /** The pixels of an image that is still decoded, because small files can hold huge images. */
    image_pixels: number;
    /** The people in one conversation. */
    members: number;
    /**
     * The people in a conversation up to which receipts, typing and profiles are announced, since their number grows
     * with the square.
     */
    broadcast_members: number;
    /** The seconds in which members may edit their messages; admins always may. */
    edit_seconds: number;
    /** The seconds in which members may delete their messages for everyone; admins always may. */
    delete_seconds: number;
    /** The milliseconds between two announcements that the same person is typing. */
    typing_interval_ms: number;
    /** The milliseconds after which typing ends by itself. */
    typing_expiry_ms: number;
    /** The seconds for which a node vouches that somebody is there. */
    presence_lease_s: number;
    /** The seconds without activity after which somebody is away. */
    presence_away_s: number;
    /** The people one request may subscribe to. */
    presence_ids: number;
    /** The people one connection may be subscribed to, since each of them is remembered for it. */
    presence_subscriptions: number;
    /** The messages a person may send per second, in the long run; 0 sets no limit. */
    send_rate: number;
    /** The messages a person may send at once after a pause. */
    send_burst: number;
    /** The requests a connection may make per second, in the long run; 0 sets no limit. */
    event_rate: number;
    /** The requests a connection may make at once after a pause. */
    event_burst: number;
    /** The connections one person may have at a time. */
    sockets_per_user: number;
    /** The entries of a page when the request does not say. */
    page: number;
    /** The entries of a page at most. */
    page_max: number;
    /** The messages of one conversation in a sync answer. */
    sync_messages: number;
    /** The messages of all conversations in a sync answer. */
    sync_total: number;
    /** The bytes of a sync answer or a page of messages, so that no answer blocks a connection. */
    sync_bytes: number;
    /** The changes a client may have missed before it starts over with the newest page. */
    sync_changes: number;
    /** The number up to which unread messages are counted exactly. */
    unread_max: number;
    /** The seconds before a token's end at which its connection is told. */
    token_warning_s: number;
    /** The seconds after a token's end at which its connection is closed. */
    token_grace_s: number;
    /** The seconds a new connection has to say who it is. */
    authenticate_s: number;
    /** The bytes waiting for one slow connection before it is cut. */
    output_bytes: number;
    /** The requests of one connection that may wait. */
    inbox: number;
    /** The conversations one socket hears at a time. */
    joined: number;
  };
  /** The conversations that this connection hears, with their heads. */
  joined: Record<string, number>;
  /** The head of the person's own list. */
  user_seq: number;
  unread_total: number;
  /** What changed after the cursors in `auth`; only with cursors. */
  sync?: SyncAnswer | null;
}

/** Too much was missed to repeat it: ask `sync` at a random moment within this time. */
export interface SessionResync {
  /** For these conversations; absent: for the person's own list and all conversations. */
  conversation_ids?: string[] | null;
  /** If it is not yours, the database was replaced: drop what you stored, then ask. */
  epoch?: string | null;
  within_ms: number;
}

/** Addresses of files that need no token for a few minutes; others than readable ones miss. */
export interface SignFiles {
  ids: string[];
}

/** Addresses of one file that need no token; thumbnails by their longer side. */
export interface SignedFile {
  url: string;
  thumbnails: Record<string, string>;
}

/** Addresses by file, and until when they are good. */
export interface SignedFiles {
  urls: Record<string, SignedFile>;
  expires_at: string;
}

/** How the caller is for others from now on, or that they are seen by nobody. */
export interface StatusAnswer {
  status: OwnStatus;
}

/** Everything that changed after the caller's cursors, in its present form. */
export interface Sync {
  /** The event_seq up to which the caller has everything; null: no cursor yet. */
  cursors?: Record<string, number | null>;
  /** The same for the caller's personal list; 0 on a new device. */
  user_seq?: number | null;
  epoch?: string | null;
  /** Messages per conversation; only lowers the server's own bound. */
  limit?: number | null;
}

/** Everything that changed after the caller's cursors. */
export interface SyncAnswer {
  epoch: string;
  conversations: SyncEntry[];
  memberships: Membership[];
  hidden_ids: string[];
  users: User[];
  user_seq: number | null;
  user_has_more: boolean;
  unseated: string[];
  unread_total: number;
}

/** One conversation's changes, complete up to `event_seq`. */
export interface SyncEntry {
  id: string;
  event_seq: number;
  messages: Message[];
  participants: Participant[];
  conversation?: RoomConversation | null;
  receipts: Receipt[];
  has_more: boolean;
  reset?: boolean | null;
}

/** What a system message tells, for the client to put into words. */
export interface System {
  event: SystemEvent;
  params: Record<string, unknown>;
}

/** What a system message tells; the client puts it into words of its own language. */
export type SystemEvent = 'conversation_created' | 'participant_joined' | 'participant_left' | 'participant_removed' | 'conversation_renamed' | 'conversation_closed' | 'conversation_reopened' | 'notice';

/** An image made smaller; its address needs a token. */
export interface Thumbnail {
  width: number;
  height: number;
  url: string;
}

/** Until when the new token holds. */
export interface TokenAccepted {
  token_expires_at: string;
}

/** What the person is preparing. */
export type TypingKind = 'text' | 'voice' | 'upload';

/** The caller is preparing a message. */
export interface TypingStart {
  conversation_id: string;
  kind?: TypingKind;
}

/** Somebody prepares a message. */
export interface TypingStarted {
  conversation_id: string;
  user_id: string;
  kind: TypingKind;
  /** When this is over unless it is said again. */
  expires_in_ms: number;
}

/** The caller stopped preparing a message. */
export interface TypingStop {
  conversation_id: string;
  kind?: TypingKind;
}

/** Somebody does not prepare a message any more: sent, stopped, expired or gone. */
export interface TypingStopped {
  conversation_id: string;
  user_id: string;
  kind: TypingKind;
}

/** Unread messages, and the conversations that have some. */
export interface Unread {
  total: number;
  conversations: number;
}

/** Your counters: unread messages, conversations that have some. */
export interface UnreadChanged {
  total: number;
  conversations: number;
}

/** New values for what all members see of a conversation. */
export interface UpdateConversation {
  conversation_id: string;
  title?: string | null;
  avatar_url?: string | null;
  client?: string | null;
  property?: string | null;
  metadata?: Record<string, unknown>;
  is_active?: boolean;
}

/** New values for what only the caller sees of a conversation. */
export interface UpdateMy {
  conversation_id: string;
  is_archived?: boolean;
  is_pinned?: boolean;
  muted_until?: string | null;
  marked_unread?: boolean;
}

/** A new role for a member. */
export interface UpdateParticipant {
  conversation_id: string;
  user_id: string;
  role: MembershipRole;
}

/** A person's profile. */
export interface User {
  id: string;
  name: string;
  avatar_url: string | null;
  role: UserRole | null;
  metadata: Record<string, unknown>;
}

/** People who were found. */
export interface UserPage {
  results: User[];
}

/** What a person is in the product that embeds this server. */
export type UserRole = 'client' | 'agent' | 'admin' | 'service';

/** Somebody in one of your conversations, or you, has a new profile. */
export interface UserUpdated {
  user: User;
}

/** What a message said before it was edited. */
export interface Version {
  version: number;
  content: string;
  created_at: string;
}

/** Earlier versions of a message, oldest first. */
export interface Versions {
  results: Version[];
}

/** The acknowledgement of every request: done, or why not. */
export type Answer<Data> = { ok: true; data: Data } | { ok: false; error: ErrorBody };

/** What the server tells; the event map of `socket.on`. */
export interface ServerToClientEvents {
  /**
   * You are in: the first event of every connection, and nothing after it is missed. About this connection. Heard by
   * this connection.
   */
  'session:ready': (data: SessionReady) => void;
  /**
   * Too much was missed to repeat it: ask `sync` at a random moment within this time. Without a number: what it says is
   * in answers too. Heard by everybody in the conversation and the person's devices.
   */
  'session:resync': (data: SessionResync) => void;
  /** The server ends this connection, and why. About this connection. Heard by this connection. */
  'session:closed': (data: SessionClosed) => void;
  /** The token ends in so many seconds: send `auth:refresh`. About this connection. Heard by this connection. */
  'auth:expiring': (data: AuthExpiring) => void;
  /**
   * This server stops: come back then, to whoever serves; each client is told another moment. About this connection.
   * Heard by this connection.
   */
  'server:draining': (data: ServerDraining) => void;
  /** A request that asked for no acknowledgement was refused. About this connection. Heard by this connection. */
  'request:failed': (data: RequestFailed) => void;
  /**
   * There is a new message. Numbered by `event_seq`: `sync` brings what was missed. Heard by everybody in the
   * conversation.
   */
  'message:created': (data: MessageCreated) => void;
  /**
   * A message was edited. Numbered by `event_seq`: `sync` brings what was missed. Heard by everybody in the
   * conversation.
   */
  'message:updated': (data: MessageUpdated) => void;
  /**
   * Only a tombstone is left of a message. Numbered by `event_seq`: `sync` brings what was missed. Heard by everybody
   * in the conversation.
   */
  'message:deleted': (data: MessageDeleted) => void;
  /**
   * Somebody joined. Numbered by `event_seq`: `sync` brings what was missed. Heard by everybody in the conversation.
   */
  'participant:added': (data: ParticipantAdded) => void;
  /**
   * Somebody left or was removed; the last that this person hears of the conversation. Numbered by `event_seq`: `sync`
   * brings what was missed. Heard by everybody in the conversation.
   */
  'participant:removed': (data: ParticipantRemoved) => void;
  /**
   * Somebody has another role. Numbered by `event_seq`: `sync` brings what was missed. Heard by everybody in the
   * conversation.
   */
  'participant:updated': (data: ParticipantUpdated) => void;
  /**
   * Title, picture, data or state of the conversation changed. Numbered by `event_seq`: `sync` brings what was missed.
   * Heard by everybody in the conversation.
   */
  'conversation:updated': (data: ConversationUpdated) => void;
  /**
   * You are in this conversation. Numbered by `user_seq`: `sync` brings what was missed. Heard by the person's devices.
   */
  'conversation:added': (data: ConversationAdded) => void;
  /**
   * You are no longer in this conversation. Numbered by `user_seq`: `sync` brings what was missed. Heard by the
   * person's devices.
   */
  'conversation:removed': (data: ConversationRemoved) => void;
  /**
   * You archived, pinned, muted or marked a conversation. Numbered by `user_seq`: `sync` brings what was missed. Heard
   * by the person's devices.
   */
  'my:updated': (data: MyUpdated) => void;
  /**
   * You deleted these messages for yourself. Numbered by `user_seq`: `sync` brings what was missed. Heard by the
   * person's devices.
   */
  'my:message_hidden': (data: MessagesHidden) => void;
  /**
   * Your counters: unread messages, conversations that have some. Without a number: what it says is in answers too.
   * Heard by the person's devices.
   */
  'my:unread': (data: UnreadChanged) => void;
  /**
   * Something was said in a conversation of yours that this connection does not hear. Without a number: what it says is
   * in answers too. Heard by the person's devices.
   */
  'conversation:activity': (data: ConversationStirred) => void;
  /**
   * A person's devices have everything up to here. Without a number: what it says is in answers too. Heard by everybody
   * in the conversation.
   */
  'receipt:delivered': (data: DeliveredReceipt) => void;
  /**
   * A person has read everything up to here. Without a number: what it says is in answers too. Heard by everybody in
   * the conversation.
   */
  'receipt:read': (data: ReadReceipt) => void;
  /**
   * Somebody prepares a message. Without a number: what it says is in answers too. Heard by everybody in the
   * conversation.
   */
  'typing:started': (data: TypingStarted) => void;
  /**
   * Somebody does not prepare a message any more: sent, stopped, expired or gone. Without a number: what it says is in
   * answers too. Heard by everybody in the conversation.
   */
  'typing:stopped': (data: TypingStopped) => void;
  /**
   * Somebody to whom this connection subscribed came, went, or is away. Without a number: what it says is in answers
   * too. Heard by connections that subscribed to the person.
   */
  'presence:changed': (data: PresenceChanged) => void;
  /**
   * Somebody in one of your conversations, or you, has a new profile. Without a number: what it says is in answers too.
   * Heard by everybody in the conversation and the person's devices.
   */
  'user:updated': (data: UserUpdated) => void;
}

/** What a client may ask; the event map of `socket.emit` and `socket.emitWithAck`. */
export interface ClientToServerEvents {
  /** A fresh token for the person who is connected. */
  'auth:refresh': (data: AuthRefresh, done: (answer: Answer<TokenAccepted>) => void) => void;
  /** Everything that changed after the caller's cursors, in its present form. */
  sync: (data: Sync, done: (answer: Answer<SyncAnswer>) => void) => void;
  /** A new conversation, or the one that already stands for these people or this key. */
  'conversation:create': (data: CreateConversation, done: (answer: Answer<ConversationCreated>) => void) => void;
  /** New values for what all members see of a conversation. Asked by: owner, admin, service. */
  'conversation:update': (data: UpdateConversation, done: (answer: Answer<ConversationAnswer>) => void) => void;
  /** New values for what only the caller sees of a conversation. Asked by: owner, admin, member, read_only. */
  'conversation:update_my': (data: UpdateMy, done: (answer: Answer<MyAnswer>) => void) => void;
  /** People to add to a conversation. Asked by: owner, admin, service. */
  'participant:add': (data: AddParticipants, done: (answer: Answer<ParticipantsAnswer>) => void) => void;
  /** A new role for a member. Asked by: owner, admin, service. */
  'participant:update': (data: UpdateParticipant, done: (answer: Answer<ParticipantsAnswer>) => void) => void;
  /** A person to remove; one's own id leaves the conversation. Asked by: owner, admin, service. */
  'participant:remove': (data: RemoveParticipant, done: (answer: Answer<ParticipantsAnswer>) => void) => void;
  /** A message; `client_msg_id` makes asking again safe for ever. Asked by: owner, admin, member, service. */
  'message:send': (data: SendMessage, done: (answer: Answer<MessageSent>) => void) => void;
  /** A page of history; without a position, the newest one. Asked by: owner, admin, member, read_only. */
  'message:list': (data: ListMessages, done: (answer: Answer<History>) => void) => void;
  /** New text for one's own message. Asked by: author. */
  'message:edit': (data: EditMessage, done: (answer: Answer<MessageAnswer>) => void) => void;
  /** A message to take away, for everyone or only for the caller. Asked by: author, owner, admin. */
  'message:delete': (data: DeleteMessage, done: (answer: Answer<MessageAnswer>) => void) => void;
  /** The caller's device has received everything up to here, in several conversations. */
  'receipt:delivered': (data: ReceiptDelivered, done: (answer: Answer<DeliveredAnswer>) => void) => void;
  /** The caller has seen everything up to here. Asked by: owner, admin, member, read_only. */
  'receipt:read': (data: ReceiptRead, done: (answer: Answer<ReadAnswer>) => void) => void;
  /** The caller is preparing a message. Asked by: owner, admin, member. */
  'typing:start': (data: TypingStart, done: (answer: Answer<Nothing>) => void) => void;
  /** The caller stopped preparing a message. Asked by: owner, admin, member. */
  'typing:stop': (data: TypingStop, done: (answer: Answer<Nothing>) => void) => void;
  /** People whose presence the caller's connection wants to hear of. */
  'presence:subscribe': (data: PresenceSubscribe, done: (answer: Answer<Presences>) => void) => void;
  /** People whose presence the caller's connection has heard enough of. */
  'presence:unsubscribe': (data: PresenceUnsubscribe, done: (answer: Answer<Presences>) => void) => void;
  /** How the caller is. */
  'presence:set': (data: PresenceSet, done: (answer: Answer<StatusAnswer>) => void) => void;
  /** Addresses of files that need no token for a few minutes; others than readable ones miss. */
  'file:sign': (data: SignFiles, done: (answer: Answer<SignedFiles>) => void) => void;
}
