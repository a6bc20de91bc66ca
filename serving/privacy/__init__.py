"""Erasure over a home: the steps, what they leave for replay to know, verification, and what a server forgets.

from serving.privacy.wiring import privacy_of
receipt = privacy_of(home).run(privacy_of(home).request(user_id, now).id, clock)
"""
