package drill_test

const natsDir = "EYE_DRILL_NATS_DIR"

func serveNATS() int { return 1 }
