"""Progressive delivery in the running pipeline: a challenger beside the champion, symbol by symbol.

A cycle pins its rollouts (`PipelineCycle.rollouts`) as it pins its flags and module versions. `arms` runs both,
`merge` lets each speak for its symbols, `recording` keeps what they said, `measures` and `replaying` say how they did.
"""
