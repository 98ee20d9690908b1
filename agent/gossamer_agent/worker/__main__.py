"""`python -m gossamer_agent.worker FD JSON`: the zygote."""

from gossamer_agent.worker.zygote import main

main()
