"""Rollouts on recordings as a robot would have lived them: streaming evaluation.

``played`` gives every rollout's answers and when they were there, ``world`` what was right and
what changed, ``measures`` the figures; ``comparison`` puts them in order; ``report``,
``pictures``, ``dashboard`` and ``annotated`` show them. No rclpy. Imported by ``cli``.
"""
