"""The closed loop on one home: serve -> react -> log -> retrain -> promote, day by day on simulated time."""
