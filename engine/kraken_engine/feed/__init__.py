"""Stage 5: what is true now reaches the application, in order, each consumer at its own pace."""
