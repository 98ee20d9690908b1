"""Which call runs on which worker, and who is owed what. A machine: no I/O, no clock.

`events` are its words and `machine` their handling; `queue`, `parking` and `deadlines` hold what
waits, `feeding` hands it to `workers`, `running` sees it end, `callers` answers for it, `functions`
knows its code; `ledger` remembers what each caller has not acknowledged.
"""
