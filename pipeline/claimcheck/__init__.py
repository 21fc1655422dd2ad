"""The pattern itself: claims, payloads and what they hold. Knows no vendor of brokers, stores or tasks.

Read ``claim_check`` first (offload, rehydrate, release), then ``claim`` (what travels instead of a payload).
"""
