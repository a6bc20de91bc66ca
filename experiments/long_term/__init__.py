"""What a change will do to listeners in a month, told from their first days: signals, a surrogate, effects, checks.

told = Told.of(events, units); frame = signals(told, units, days=7)
surrogate = fit(frame, returned(told, units), policy)      # from policies whose month is over
long_term_effect(surrogate, treated, control)              # of one that is a week old

docs/long_term.md says what is assumed, and what was measured.
"""
