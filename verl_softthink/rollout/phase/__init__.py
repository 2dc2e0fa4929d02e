"""Phase control: when thinking is soft, when it ends, and what follows; all of it on the device.

machine.py     the state machine: one step for a batch of rows
switching.py   its switching between soft steps and ordinary tokens
markers.py     the end of thinking, by token ids or by text
lead_in.py     what is forced where thinking is cut short, behind a marker that has begun
history.py     what is remembered of every position, and what a soft prefix leaves behind
control.py     a batch's settings and history, handed to the state machine
"""
