"""`python -m gossamer_agent.worker FD [MODULE…]`: the zygote."""

from gossamer_agent.worker.zygote import main

main()
