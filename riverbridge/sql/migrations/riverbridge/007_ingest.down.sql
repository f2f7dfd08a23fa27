DROP TABLE /* schema */riverbridge_quarantine;
DROP TABLE /* schema */riverbridge_inbox;
DROP TABLE /* schema */riverbridge_position;
