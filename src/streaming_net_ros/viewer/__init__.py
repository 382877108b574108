"""The live page of a running network: seen, steered and changed in a browser, over ROS.

``link`` is one ROS node on a thread, ``watch`` what is seen, ``control`` what is changed; both are
values and know no page. ``pictures``, ``graph_picture`` and ``timeline`` are pure. ``app``,
``page`` and ``panels`` are the page itself (NiceGUI). Nothing imports this room but the command
line.
"""
