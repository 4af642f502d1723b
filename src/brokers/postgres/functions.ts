/**
 * The functions of a schema, by which programs in any language publish.
 *
 * `put` puts a body on a queue, and `publish` wraps a payload in an envelope
 * first. Both are part of the caller's transaction, and wake workers when it
 * commits. They run with the rights of the schema's owner and with a search
 * path of their own, so that a caller needs no right but EXECUTE. They check
 * what the publisher of this package checks, with the same limits.
 */
import * as Duration from "effect/Duration"
import { maxDelay } from "../../Broker.ts"

/** The largest body that a broker may be told to accept, in bytes. */
export const largestBody = 64 * 1024 * 1024

const longestMillis = Duration.toMillis(maxDelay)

const refuse = (rule: string, value: string) =>
  `RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = ${rule} || coalesce(', not ' || ${value}, '')`

const security = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp"

const options = `delay interval DEFAULT '0 seconds', priority bigint DEFAULT 1024, ttr interval DEFAULT '60 seconds'`

const millis = (duration: string, otherwise: string) =>
  `ceil(extract(epoch FROM coalesce(${duration}, interval '${otherwise}')) * 1000)`

/** The statements that make the functions of a schema, whose name is quoted already. `channel` is where workers listen. */
export const functions = (s: string, channel: string): ReadonlyArray<string> => [
  `CREATE FUNCTION ${s}.put(queue text, body bytea, ${options}) RETURNS bigint ${security} AS $put$
DECLARE
  delay_millis CONSTANT numeric := ${millis("put.delay", "0")};
  ttr_millis CONSTANT numeric := ${millis("put.ttr", "60 seconds")};
  urgency CONSTANT bigint := coalesce(put.priority, 1024);
  queue_id int;
  job_id bigint;
BEGIN
  IF (put.queue COLLATE "C" ~ '^[A-Za-z0-9+/;.$_()][-A-Za-z0-9+/;.$_()]{0,199}$') IS NOT TRUE THEN
    ${
    refuse(
      `'queue must be 1 to 200 of the characters A-Z a-z 0-9 - + / ; . $ _ ( ), without - in front'`,
      `left(put.queue, 200)`
    )
  };
  END IF;
  IF put.body IS NULL OR octet_length(put.body) > ${largestBody} THEN
    ${refuse(`'body must be at most ${largestBody} bytes'`, `octet_length(put.body) || ' bytes'`)};
  END IF;
  IF delay_millis < 0 OR delay_millis > ${longestMillis} THEN
    ${refuse(`'delay must be from 0 to ${longestMillis / 1000} seconds'`, `put.delay::text`)};
  END IF;
  IF ttr_millis <= 0 OR ttr_millis > ${longestMillis} THEN
    ${refuse(`'ttr must be more than 0 and at most ${longestMillis / 1000} seconds'`, `put.ttr::text`)};
  END IF;
  IF urgency < 0 OR urgency > 4294967295 THEN
    ${refuse(`'priority must be from 0 to 4294967295'`, `put.priority::text`)};
  END IF;
  SELECT q.id INTO queue_id FROM ${s}.queue AS q WHERE q.name = put.queue COLLATE "C";
  IF queue_id IS NULL THEN
    INSERT INTO ${s}.queue (name) VALUES (put.queue) ON CONFLICT (name) DO NOTHING;
    SELECT q.id INTO STRICT queue_id FROM ${s}.queue AS q WHERE q.name = put.queue COLLATE "C";
  END IF;
  INSERT INTO ${s}.tally (queue, jobs) VALUES (queue_id, 1);
  INSERT INTO ${s}.job (queue, state, priority, due, ttr, body) VALUES (
    queue_id, (delay_millis > 0)::int, urgency,
    CASE WHEN delay_millis > 0 THEN clock_timestamp() + delay_millis::float8 * interval '1 millisecond' END,
    ttr_millis::bigint, put.body) RETURNING id INTO job_id;
  PERFORM pg_notify('${channel}', put.queue);
  RETURN job_id;
END $put$`,
  `CREATE FUNCTION ${s}.publish(queue text, job text, payload jsonb DEFAULT NULL, ${options}, id text DEFAULT NULL,
  version int DEFAULT NULL) RETURNS bigint ${security} AS $publish$
DECLARE
  now_millis CONSTANT bigint := floor(extract(epoch FROM clock_timestamp()) * 1000);
  -- A UUID of version 7: the time, then what a random one has.
  new_id CONSTANT text := encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    PLACING substring(int8send(now_millis) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid;
BEGIN
  IF publish.job IS NULL THEN
    ${refuse("'job must be the name of a job, not null'", "NULL")};
  END IF;
  RETURN ${s}.put(publish.queue, convert_to('{"backq":1,"id":' || to_json(coalesce(publish.id, new_id))
    || ',"job":' || to_json(publish.job) || coalesce(',"version":' || publish.version, '')
    || ',"payload":' || coalesce(publish.payload::text, 'null') || ',"publishedAt":' || now_millis || '}', 'UTF8'),
    publish.delay, publish.priority, publish.ttr);
END $publish$`,
  `REVOKE ALL ON FUNCTION ${s}.put FROM PUBLIC`,
  `REVOKE ALL ON FUNCTION ${s}.publish FROM PUBLIC`
]
