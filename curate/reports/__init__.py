"""What a run has to say: progress lines, the funnel in the terminal, the HTML report."""
