"""What an examination looks for, a function a finding."""
