"""One file a protocol: an `EvaluationSet` in, `ProtocolResult`s out."""
