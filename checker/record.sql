-- What every change of this database was, kept where the server does not look. The judge believes
-- this and nothing that a node says.
CREATE SCHEMA checker;
CREATE TABLE checker.messages (
    at double precision, conversation_id text, id text, seq bigint, event_seq bigint,
    sender_id text, client_msg_id text, content text, is_deleted boolean, is_system boolean
);
CREATE TABLE checker.memberships (
    at double precision, conversation_id text, user_id text, is_active boolean, event_seq bigint
);
CREATE TABLE checker.conversations (at double precision, conversation_id text, event_seq bigint);

CREATE FUNCTION checker.message() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO checker.messages VALUES (extract(epoch FROM clock_timestamp()),
        NEW.conversation_id, NEW.id, NEW.seq, NEW.event_seq, NEW.sender_id, NEW.client_msg_id,
        NEW.content, NEW.deleted_at IS NOT NULL, NEW.type = 'system');
    RETURN NULL;
END $$;
CREATE FUNCTION checker.membership() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO checker.memberships VALUES (extract(epoch FROM clock_timestamp()),
        NEW.conversation_id, NEW.user_id, NEW.is_active, NEW.event_seq);
    RETURN NULL;
END $$;
CREATE FUNCTION checker.conversation() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO checker.conversations VALUES (extract(epoch FROM clock_timestamp()),
        NEW.id, NEW.event_seq);
    RETURN NULL;
END $$;

CREATE TRIGGER checker_made AFTER INSERT ON messages
    FOR EACH ROW EXECUTE FUNCTION checker.message();
CREATE TRIGGER checker_changed AFTER UPDATE ON messages
    FOR EACH ROW WHEN (OLD.event_seq <> NEW.event_seq) EXECUTE FUNCTION checker.message();
CREATE TRIGGER checker_made AFTER INSERT ON participants
    FOR EACH ROW EXECUTE FUNCTION checker.membership();
CREATE TRIGGER checker_changed AFTER UPDATE ON participants
    FOR EACH ROW WHEN (OLD.event_seq <> NEW.event_seq) EXECUTE FUNCTION checker.membership();
CREATE TRIGGER checker_made AFTER INSERT ON conversations
    FOR EACH ROW EXECUTE FUNCTION checker.conversation();
CREATE TRIGGER checker_changed AFTER UPDATE ON conversations
    FOR EACH ROW WHEN (OLD.event_seq <> NEW.event_seq) EXECUTE FUNCTION checker.conversation();
