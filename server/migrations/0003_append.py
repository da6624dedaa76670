"""The batch of sends as one function of PostgreSQL."""

from tortoise.migrations.migration import Migration as TortoiseMigration

from server.migrations._dialects import RunOnPostgres

# Its name has a number: while nodes of two versions run, each calls its own.
#
# The lock is one statement and everything decided under it another, which sees what was committed
# until then; one that locked and looked would see the membership from before. With `waits` it
# queues for its locks, else it leaves out what somebody else holds. Entries come back by their
# place: with numbers when they were appended, without when a lock was not to be had; those that
# miss were not plainly allowed, or are stored already. No sender has two entries in a conversation.
APPEND = """
CREATE OR REPLACE FUNCTION palabre_append_1(
    ids text[], conversation_ids text[], sender_ids text[], client_ids text[],
    fingerprints text[], contents text[], metadatas text[], ranks int[], writers text[],
    now_ms bigint, waits boolean
) RETURNS TABLE (
    place bigint, seq bigint, event_seq bigint,
    sender_name text, sender_avatar_url text, sender_role text
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    locked bigint[];
    is_whole boolean;
    appended bigint;
    written bigint;
BEGIN
    IF waits THEN
        PERFORM set_config('lock_timeout', '1000', true);
        PERFORM 1 FROM conversations c WHERE c.id = ANY (conversation_ids)
            ORDER BY c.id FOR NO KEY UPDATE;
        PERFORM 1 FROM unnest(conversation_ids, sender_ids) AS e (conversation_id, sender_id)
            JOIN participants p
            ON p.conversation_id = e.conversation_id AND p.user_id = e.sender_id
            ORDER BY p.conversation_id, p.user_id FOR NO KEY UPDATE OF p;
        is_whole := true;
    ELSE
        SELECT array_agg(k.place) INTO locked FROM (
            SELECT e.place FROM unnest(conversation_ids, sender_ids)
                WITH ORDINALITY AS e (conversation_id, sender_id, place)
            JOIN conversations c ON c.id = e.conversation_id
            JOIN participants p
                ON p.conversation_id = e.conversation_id AND p.user_id = e.sender_id
            ORDER BY c.id, p.user_id FOR NO KEY UPDATE OF c, p SKIP LOCKED
        ) k;
        is_whole := coalesce(array_length(locked, 1), 0) = array_length(ids, 1);
    END IF;

    RETURN QUERY WITH accepted AS (
        SELECT e.*, c.last_seq + row_number() OVER numbered AS seq,
            c.head + row_number() OVER numbered AS event_seq,
            c.countable + row_number() OVER numbered AS countable,
            p.id AS participant_id, u.name, u.avatar_url, u.role
        FROM unnest(ids, conversation_ids, sender_ids, client_ids, fingerprints, contents,
            metadatas, ranks) WITH ORDINALITY AS e (id, conversation_id, sender_id, client_id,
            fingerprint, content, metadata, rank, place)
        JOIN conversations c ON c.id = e.conversation_id AND c.is_active
        JOIN participants p ON p.conversation_id = e.conversation_id
            AND p.user_id = e.sender_id AND p.is_active
            AND strpos(writers[e.rank], ' ' || c.type || ':' || p.role || ' ') > 0
        JOIN users u ON u.id = e.sender_id
        WHERE (is_whole OR e.place = ANY (locked)) AND NOT EXISTS (
            SELECT 1 FROM messages m WHERE m.conversation_id = e.conversation_id
            AND m.sender_id = e.sender_id AND m.client_msg_id = e.client_id
        )
        WINDOW numbered AS (PARTITION BY e.conversation_id ORDER BY e.place)
    ), inserted AS (
        INSERT INTO messages (id, conversation_id, seq, event_seq, sender_id, client_msg_id,
            fingerprint, type, content, metadata, version, countable, created_at)
        SELECT id, conversation_id, seq, event_seq, sender_id, client_id,
            fingerprint, 'text', content, metadata, 1, countable, now_ms
        FROM accepted
    ), counted AS (
        UPDATE conversations c SET last_seq = c.last_seq + k.many, head = c.head + k.many,
            countable = c.countable + k.many, last_activity_at = now_ms
        FROM (SELECT a.conversation_id, count(*) AS many FROM accepted a GROUP BY 1) k
        WHERE c.id = k.conversation_id
    ), moved AS (
        UPDATE participants p SET read_seq = k.seq, delivered_seq = k.seq,
            read_countable = k.countable,
            archived_countable = CASE WHEN p.archived_countable = k.countable - 1
                THEN k.countable ELSE p.archived_countable END,
            archived_seq = CASE WHEN p.archived_countable = k.countable - 1
                THEN k.seq ELSE p.archived_seq END
        FROM accepted k WHERE p.id = k.participant_id
    )
    SELECT place, seq, event_seq, name::text, avatar_url::text, role::text FROM accepted;

    IF NOT is_whole THEN
        RETURN QUERY SELECT e.place, NULL::bigint, NULL::bigint, NULL, NULL, NULL
            FROM unnest(conversation_ids, sender_ids)
                WITH ORDINALITY AS e (conversation_id, sender_id, place)
            JOIN participants p
                ON p.conversation_id = e.conversation_id AND p.user_id = e.sender_id
            WHERE locked IS NULL OR NOT e.place = ANY (locked);
    END IF;
END $$
"""


class Migration(TortoiseMigration):
    """Sends, many at a time."""

    dependencies = [("palabre", "0002_attachments")]
    operations = [RunOnPostgres([APPEND])]
