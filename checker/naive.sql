CREATE TABLE IF NOT EXISTS conversations (
    id text PRIMARY KEY, owner_id text NOT NULL, head bigint NOT NULL DEFAULT 0,
    last_seq bigint NOT NULL DEFAULT 0, event_seq bigint NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS participants (
    conversation_id text, user_id text, is_active boolean NOT NULL, event_seq bigint NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
);
CREATE SEQUENCE IF NOT EXISTS ids;
CREATE TABLE IF NOT EXISTS messages (
    id text PRIMARY KEY, conversation_id text NOT NULL, seq bigint NOT NULL,
    event_seq bigint NOT NULL, sender_id text NOT NULL, client_msg_id text, content text NOT NULL,
    type text NOT NULL DEFAULT 'text', version int NOT NULL DEFAULT 1, deleted_at bigint
);
CREATE INDEX IF NOT EXISTS history ON messages (conversation_id, event_seq);
