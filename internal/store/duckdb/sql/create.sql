-- The tables of format 1. docs/format/store.md describes them column by column.
CREATE SCHEMA store;

CREATE TABLE store.meta (
  format INTEGER NOT NULL,
  id     VARCHAR NOT NULL,
  block  BIGINT  NOT NULL
);

CREATE TABLE store.events (
  position       BIGINT    NOT NULL,
  application    VARCHAR   NOT NULL,
  id             VARCHAR   NOT NULL,
  session_id     VARCHAR   NOT NULL USING COMPRESSION zstd,
  session_key    BIGINT    NOT NULL,
  category       VARCHAR   NOT NULL,
  name           VARCHAR   NOT NULL,
  data           VARCHAR   NOT NULL USING COMPRESSION zstd,
  timestamp      TIMESTAMP NOT NULL,
  sequence       BIGINT    NOT NULL,
  received_at    TIMESTAMP NOT NULL,
  schema_version INTEGER   NOT NULL,
  violations     VARCHAR
);

CREATE TABLE store.duplicates (
  position    BIGINT  NOT NULL,
  original    BIGINT  NOT NULL,
  application VARCHAR NOT NULL,
  conflict    BOOLEAN NOT NULL
);

CREATE TABLE store.quarantine (
  position    BIGINT    NOT NULL,
  application VARCHAR   NOT NULL,
  id          VARCHAR   NOT NULL,
  session_id  VARCHAR   NOT NULL,
  category    VARCHAR   NOT NULL,
  name        VARCHAR   NOT NULL,
  received_at TIMESTAMP NOT NULL,
  violations  VARCHAR   NOT NULL,
  original    BLOB      NOT NULL
);

CREATE TABLE store.ledger (
  minute      TIMESTAMP NOT NULL,
  application VARCHAR   NOT NULL,
  category    VARCHAR   NOT NULL,
  name        VARCHAR   NOT NULL,
  received    BIGINT    NOT NULL,
  stored      BIGINT    NOT NULL,
  duplicate   BIGINT    NOT NULL,
  quarantined BIGINT    NOT NULL,
  discarded   BIGINT    NOT NULL
);

-- Changes of the ledger as they come; maintenance folds them into the ledger.
CREATE TABLE store.ledger_changes AS FROM store.ledger;

CREATE TABLE store.segments (
  first_position BIGINT NOT NULL,
  last_position  BIGINT NOT NULL,
  events         BIGINT NOT NULL,
  sessions       BLOB   NOT NULL USING COMPRESSION uncompressed,
  ids            BLOB   NOT NULL USING COMPRESSION uncompressed
);

CREATE TABLE store.filters (
  level          INTEGER NOT NULL,
  first_position BIGINT  NOT NULL,
  last_position  BIGINT  NOT NULL,
  ids            BLOB    NOT NULL USING COMPRESSION uncompressed
);

CREATE TABLE store.session_spans (
  segment         BIGINT    NOT NULL,
  session_id      VARCHAR   NOT NULL,
  session_key     BIGINT    NOT NULL,
  application     VARCHAR   NOT NULL,
  first_timestamp TIMESTAMP NOT NULL,
  last_timestamp  TIMESTAMP NOT NULL,
  events          BIGINT    NOT NULL
);
